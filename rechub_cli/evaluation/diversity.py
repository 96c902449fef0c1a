"""Controllable serving: accuracy given up for different categories (Cen 2020, section 3.4).

b queries, N candidates, I items, G categories of an item, k length of a list.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from rechub_cli.data.dataset import MatchData
from rechub_cli.data.interactions import Ints
from rechub_cli.errors import ConfigError
from rechub_cli.evaluation.metrics import compute_metrics
from rechub_cli.evaluation.ranking import MISS, Ranking, Scorer, distinct_targets, score_blocks
from rechub_cli.suggest import did_you_mean

NONE = -1
"""Fills the places of an item with fewer categories than the most."""
BLOCK_CELLS = 1 << 23


def rerank(scores: Tensor, categories: Tensor, *, factor: float, k: int) -> Tensor:
    """The list that greedily maximises sum of scores + factor x pairs of differing categories.

    scores: float [b, N], -inf where there is no candidate. categories: int64 [b, N, G], filled
    up with NONE; see ``differ``. factor: >= 0, in the unit of the scores. Of equal gains the
    first candidate is taken. Returns places among the candidates, int64 [b, min(k, N)], -1 where
    they run out.
    """
    left, pairs = scores.clone(), torch.zeros_like(scores)
    rows = torch.arange(len(scores), device=scores.device)
    chosen = []
    for _ in range(min(k, scores.shape[1])):
        best = (left + factor * pairs).argmax(dim=1)  # [b]
        chosen.append(best.masked_fill(left[rows, best] == -torch.inf, -1))
        left[rows, best] = -torch.inf
        pairs += differ(categories, categories[rows, best])
    return torch.stack(chosen, dim=1)


def differ(categories: Tensor, one: Tensor) -> Tensor:
    """bool [b, N]: which items [b, N, G] have no category in common with one item [b, G].

    An item without a category differs from none.
    """
    same = (categories.unsqueeze(-1) == one[:, None, None, :]).any(-1)  # [b, N, G]
    real = categories != NONE
    known = real.any(-1) & (one != NONE).any(-1, keepdim=True)
    return known & ~(same & real).any(-1)


def list_diversity(categories: Tensor, lists: Tensor, *, top_k: Sequence[int]) -> Tensor:
    """Share of a list's pairs that differ (Cen 2020, section 4.5), float [b, cut-offs].

    categories: int64 [b, k, G] of the items of lists [b, k], which are -1 behind their end.
    Lists of fewer than two items give 0.
    """
    real = lists >= 0
    pairs = torch.stack(
        [differ(categories, categories[:, i]) & real for i in range(lists.shape[1])], dim=1
    ) & real.unsqueeze(-1)  # [b, k, k]
    out = []
    for k in top_k:
        length = real[:, :k].sum(1)
        out.append(pairs[:, :k, :k].sum((1, 2)) / (length * (length - 1)).clamp(min=1))
    return torch.stack(out, dim=1)


def item_categories(data: MatchData, name: str) -> Tensor:
    """A side column of the items as codes, int64 [I, G], filled up with NONE.

    name: a column of single or listed values, text or integers. Raises ConfigError for others.
    """
    allowed = [n for n, v in data.catalogue.features.items() if not _is_dense(v.type)]
    if name not in allowed:
        raise ConfigError(
            f"diversity.category={name!r} is no sparse or multi-valued item column; there are "
            f"{sorted(allowed)}.{did_you_mean(name, allowed)}"
        )
    values = data.catalogue.features[name]
    if pa.types.is_nested(values.type):
        count = np.asarray(pc.list_value_length(values).fill_null(0).to_numpy()).astype(np.int64)
        flat = pc.list_flatten(values)
    else:
        count, flat = np.ones(len(values), dtype=np.int64), values
    codes = flat.dictionary_encode().indices.fill_null(NONE).to_numpy(zero_copy_only=False)
    out = np.full((len(values), max(int(count.max()), 1)), NONE, dtype=np.int64)
    column = np.arange(len(codes)) - np.repeat(np.cumsum(count) - count, count)
    out[np.repeat(np.arange(len(values)), count), column] = codes
    return torch.from_numpy(out)


def diversity_curve(
    scorer: Scorer,
    data: MatchData,
    *,
    split: str,
    categories: Tensor,
    factors: Sequence[float],
    num_candidates: int,
    top_k: Sequence[int],
    mask_seen: bool,
    candidates: Tensor,
) -> list[dict[str, float]]:
    """Recall, NDCG and diversity at each cut-off of the lists that ``rerank`` makes.

    categories: as item_categories gives them. num_candidates: N, the best scored items, of which
        ``rerank`` chooses; at least the largest cut-off.
    The others: see rerank and rank_queries. A target tied with another item stands behind it.
    Returns one row a factor: ``factor``, ``recall@k``, ``ndcg@k``, ``diversity@k``. Raises
    ConfigError for fewer candidates.
    """
    if num_candidates < max(top_k):
        raise ConfigError(
            f"diversity.num_candidates={num_candidates} cannot fill a list of top_k={max(top_k)}"
        )
    queries = data.queries(split)
    targets, offsets = distinct_targets(data.interactions, queries)
    width = min(num_candidates, len(data.catalogue))
    lists: list[list[Tensor]] = [[] for _ in factors]
    for rows, scores, owner in score_blocks(
        scorer,
        targets=targets,
        offsets=offsets,
        interactions=data.interactions,
        queries=queries,
        candidates=candidates,
        mask_seen=mask_seen,
        size=max(1, BLOCK_CELLS // max(width * categories.shape[1] ** 2, len(data.catalogue))),
    ):
        part = slice(offsets[rows.start], offsets[rows.stop])
        asked = (torch.from_numpy(owner), torch.from_numpy(targets[part]))
        below = torch.full_like(scores[asked], -torch.inf)
        scores[asked] = torch.nextafter(scores[asked], below)
        best, items = scores.topk(width, dim=1)  # [b, N]
        for factor, found in zip(factors, lists, strict=True):
            place = rerank(best, categories[items], factor=factor, k=max(top_k))  # [b, k]
            found.append(items.gather(1, place.clamp(min=0)).masked_fill(place < 0, -1))
    out = []
    for factor, found in zip(factors, lists, strict=True):
        top = torch.cat(found)
        ranking = Ranking(_ranks_in(top.numpy(), targets, offsets), offsets, targets, top.numpy())
        out.append({"factor": factor, **_curve_point(ranking, categories, top_k=top_k)})
    return out


def _curve_point(ranking: Ranking, categories: Tensor, *, top_k: Sequence[int]) -> dict[str, float]:
    found = compute_metrics(ranking, top_k=top_k, num_items=len(categories))
    lists = torch.from_numpy(ranking.top_items)
    size = max(1, BLOCK_CELLS // (lists.shape[1] * categories.shape[1]) ** 2)
    spread = torch.cat(
        [list_diversity(categories[part], part, top_k=top_k) for part in torch.split(lists, size)]
    ).mean(dim=0)
    out: dict[str, float] = {}
    for position, k in enumerate(top_k):
        out |= {name: found[name] for name in (f"recall@{k}", f"ndcg@{k}")}
        out[f"diversity@{k}"] = float(spread[position])
    return out


def _ranks_in(lists: Ints, targets: Ints, offsets: Ints) -> Ints:
    """1-based places of targets in their queries' lists [Q, k], MISS where they are not."""
    owner = np.repeat(np.arange(len(lists)), np.diff(offsets))
    hit = lists[owner] == targets[:, None]  # [T, k]
    return np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, MISS)


def _is_dense(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_decimal(kind))
