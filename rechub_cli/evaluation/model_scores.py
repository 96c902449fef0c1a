"""Scores of a model over the whole catalogue. Q queries, I items, K interests, D width."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rechub_cli.data.batches import query_batches
from rechub_cli.data.dataset import MatchData
from rechub_cli.data.splits import Queries
from rechub_cli.evaluation.compare import rank_scorer
from rechub_cli.evaluation.ranking import Ranking
from rechub_cli.evaluation.unseen import unknown_users
from rechub_cli.models.matching.base import MatchingModel

BLOCK_ROWS, BLOCK_POSITIONS = 4096, 1 << 16
"""Items or users that a tower encodes at once, and history positions of the users."""


def item_vectors(model: MatchingModel, data: MatchData) -> Tensor:
    """Vectors of the catalogue, [I, D], on the model's device."""
    device = next(model.parameters()).device
    blocks = [
        model.item_tower(
            {
                name: tensor[first : first + BLOCK_ROWS].to(device)
                for name, tensor in ((n, t[:-1]) for n, t in data.encoded.item.items())
            }
        )
        for first in range(0, len(data.catalogue), BLOCK_ROWS)
    ]
    return torch.cat(blocks)


def user_vectors(model: MatchingModel, data: MatchData, queries: Queries) -> Tensor:
    """Vectors of the queries' users, [Q, D] or [Q, K, D], on the model's device."""
    device = next(model.parameters()).device
    batches = query_batches(
        data.gather, queries, max_rows=BLOCK_ROWS, max_positions=BLOCK_POSITIONS
    )
    rows, blocks = [], []
    for index, features in batches:
        rows.append(index)
        blocks.append(model.user_tower({name: t.to(device) for name, t in features.items()}))
    vectors = torch.cat(blocks)
    return torch.empty_like(vectors).index_copy_(0, torch.cat(rows).to(device), vectors)


@torch.no_grad()
def model_scorer(
    model: MatchingModel, data: MatchData, queries: Queries
) -> Callable[[slice], Tensor]:
    """A Scorer of a model in eval mode: both sides are encoded once.

    Users of whom the model knows nothing (see unknown_users) get all items by popularity.
    """
    model.eval()
    items, users = item_vectors(model, data), user_vectors(model, data, queries)
    unknown, popularity = unknown_users(data, queries), data.train_counts.to(items.dtype).cpu()

    def scores(rows: slice) -> Tensor:
        found = model.scores(users[rows], items).cpu()
        found[unknown[rows]] = popularity
        return found

    return scores


@torch.no_grad()
def evaluate_model(
    model: MatchingModel,
    data: MatchData,
    *,
    split: str,
    top_k: Sequence[int],
    mask_seen: bool = True,
    candidates: Tensor | None = None,
) -> tuple[dict[str, float], Ranking]:
    """What rank_scorer gives of a model."""
    return rank_scorer(
        model_scorer(model, data, data.queries(split)),
        data,
        split=split,
        top_k=top_k,
        mask_seen=mask_seen,
        candidates=candidates,
    )
