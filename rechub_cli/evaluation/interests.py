"""What the interests of a multi-interest model do: which of them win, and how they differ.

b queries of a block, Q queries, K interests, T targets, m items of a query, D width.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from rechub_cli.data.dataset import MatchData
from rechub_cli.evaluation.model_scores import item_vectors, user_vectors
from rechub_cli.evaluation.ranking import MISS, Ranking
from rechub_cli.models.matching.base import MatchingModel
from rechub_cli.models.matching.interests import MultiInterestModel
from rechub_cli.run_warning import RunWarning

REPEAT = 1e-5
"""Relative distance under which an interest is a repeat of another, not one of its own."""
MOST_COSINE, LEAST_EFFECTIVE = 0.9999, 1.05
"""Where interests have collapsed: they point one way, or one of them does all the work."""
FEW_QUERIES = 64
"""Fewer that should have several interests say nothing of the model."""
BLOCK_CELLS = 1 << 22


@torch.no_grad()
def interest_report(
    model: MatchingModel, data: MatchData, ranking: Ranking, *, split: str, k: int
) -> dict[str, Any] | None:
    """The figures of ``interest_figures`` for a split's queries and their ranking by the model.

    None for a model with one vector a user.
    """
    model.eval()
    queries = data.queries(split)
    users = user_vectors(model, data, queries)
    if users.dim() == 2 or users.shape[1] == 1:
        return None
    due = None
    if isinstance(model, MultiInterestModel):
        user, end = torch.from_numpy(queries.user), torch.from_numpy(queries.history_end)
        due = int(model.several_interests(data.gather.lengths(user, end)).sum())
    return interest_figures(users, item_vectors(model, data), ranking, k=k, due=due)


def interest_figures(
    users: Tensor, items: Tensor, ranking: Ranking, *, k: int, due: int | None = None
) -> dict[str, Any]:
    """How the interests [Q, K, D] share the work over item vectors [I, D].

    An interest that repeats an earlier one of its user is none of its own. All but the counts
    are over the queries with two interests or more, and a number of nothing is None:

    queries_due: ``due``, how many should have several; None: all.
    interests_per_query: mean number of different interests.
    target_share: [K], share of the targets that each interest scores best; top_share: [K], share
        of the top k that comes from each.
    effective_wins: exp(entropy of target_share). effective_in_list: mean over queries of
        exp(entropy of their own top_share).
    effective_rank: mean over queries of exp(entropy of the normalised singular values of the
        unit interest vectors) (Roy and Vetterli 2007).
    cosine: mean over queries of the mean cosine between two of their interests.
    """
    num, dim = users.shape[1:]
    counts, several, targets, lists, cosine, rank = [], [], [], [], [], []
    for rows in _blocks(ranking, k * num * dim):
        vectors = users[rows]
        used = different(vectors)  # [b, K]
        many = used.sum(1) > 1
        counts.append(used.sum(1))
        several.append(many)
        owner, wanted = _targets(ranking, rows)
        won = winners(vectors[owner], used[owner], items[wanted].unsqueeze(1)).squeeze(1)  # [T]
        targets.append(won[many[owner]])
        top = torch.from_numpy(ranking.top_items[rows, :k]).to(users.device)
        best = winners(vectors, used, items[top.clamp(min=0)])  # [b, k]
        places = torch.nn.functional.one_hot(best, num) * (top >= 0).unsqueeze(-1)
        lists.append(places.sum(1)[many])
        cosine.append(mean_cosine(vectors[many], used[many]))
        rank.append(effective_rank(vectors[many], used[many]))
    wins = torch.bincount(torch.cat(targets), minlength=num)
    shares = torch.cat(lists)
    listed = shares[shares.sum(1) > 0]
    return {
        "num_interests": num,
        "k": k,
        "queries": len(users),
        "queries_due": len(users) if due is None else due,
        "queries_with_several": int(torch.cat(several).sum()),
        "interests_per_query": _mean(torch.cat(counts)[torch.cat(several)]),
        "target_share": _shares(wins).tolist(),
        "top_share": _shares(shares.sum(0)).tolist(),
        "effective_wins": float(effective_number(wins)) if wins.sum() else None,
        "effective_in_list": _mean(effective_number(listed)),
        "effective_rank": _mean(torch.cat(rank)),
        "cosine": _mean(torch.cat(cosine)),
    }


def collapsed_interests(figures: dict[str, Any], *, least: int = FEW_QUERIES) -> RunWarning | None:
    """The interests do the work of one: they point one way, or one of them does everything.

    least: so many queries must be due several.
    """
    if figures["queries_due"] < least:
        return None
    found = []
    if figures["queries_with_several"] == 0:
        found.append("no query has two different ones")
    else:
        if figures["cosine"] >= MOST_COSINE:
            found.append(f"mean cosine {figures['cosine']:.4f} (limit {MOST_COSINE})")
        for name, text in (
            ("effective_wins", "by targets won"),
            ("effective_in_list", f"in a user's top {figures['k']}"),
        ):
            value = figures[name]
            if value is not None and value < LEAST_EFFECTIVE:
                found.append(f"effective number {value:.3f} {text} (limit {LEAST_EFFECTIVE})")
    if not found:
        return None
    return RunWarning(
        "collapsed_interests",
        f"the {figures['num_interests']} interests of a user do the work of one: "
        f"{'; '.join(found)}. Set interest_num=1, or try another routing, temperature or "
        "optimizer_params.lr",
    )


def different(vectors: Tensor) -> Tensor:
    """bool [b, K]: which interests [b, K, D] repeat no earlier one of their query."""
    gap = (vectors.unsqueeze(2) - vectors.unsqueeze(1)).norm(dim=-1)  # [b, K, K]
    alike: Tensor = gap <= REPEAT * vectors.norm(dim=-1).unsqueeze(2)
    return ~alike.tril(-1).any(dim=2)


def winners(vectors: Tensor, used: Tensor, items: Tensor) -> Tensor:
    """int64 [b, m]: the interest of [b, K, D] that scores each item [b, m, D] best.

    used: bool [b, K], which interests count. Equal ones: the first.
    """
    scores = torch.einsum("bkd,bmd->bmk", vectors, items)
    return scores.masked_fill(~used.unsqueeze(1), -torch.inf).argmax(dim=2)


def mean_cosine(vectors: Tensor, used: Tensor) -> Tensor:
    """[b]: mean cosine over the pairs of used interests; every row must have such a pair."""
    unit = torch.nn.functional.normalize(vectors, dim=-1) * used.unsqueeze(-1)
    count = used.sum(1)
    total: Tensor = unit.sum(1).square().sum(1) - unit.square().sum((1, 2))
    return total / (count * (count - 1))


def effective_rank(vectors: Tensor, used: Tensor) -> Tensor:
    """[b]: exp(entropy of the normalised singular values) of the used unit interests."""
    unit = torch.nn.functional.normalize(vectors, dim=-1) * used.unsqueeze(-1)
    return effective_number(torch.linalg.svdvals(unit))


def effective_number(weights: Tensor) -> Tensor:
    """exp(entropy) of weights >= 0 [..., K], normalised over the last axis: 1 to K."""
    share = _shares(weights)
    entropy: Tensor = torch.special.entr(share).sum(-1)
    return entropy.exp()


def _shares(weights: Tensor) -> Tensor:
    weights = weights.double()
    return weights / weights.sum(-1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)


def _mean(values: Tensor) -> float | None:
    return float(values.double().mean()) if len(values) else None


def _blocks(ranking: Ranking, cells: int) -> list[slice]:
    total = len(ranking.top_items)
    size = max(1, BLOCK_CELLS // cells)
    return [slice(a, min(a + size, total)) for a in range(0, total, size)]


def _targets(ranking: Ranking, rows: slice) -> tuple[Tensor, Tensor]:
    """The rankable targets of a block: their query's place in it, and their catalogue row."""
    offsets = ranking.target_offsets[rows.start : rows.stop + 1]
    part = slice(offsets[0], offsets[-1])
    ranked = ranking.ranks[part] < MISS
    owner = np.repeat(np.arange(rows.stop - rows.start), np.diff(offsets))
    return torch.from_numpy(owner[ranked]), torch.from_numpy(ranking.targets[part][ranked])
