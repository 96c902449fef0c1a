"""What a query's history lacks, and what of its targets stands in it already. Q queries."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rechub_cli.data.dataset import HELD_OUT, MatchData
from rechub_cli.data.known import any_known
from rechub_cli.data.splits import Queries
from rechub_cli.evaluation.ranking import ragged

LOOKED_AT = 10_000
"""Queries from which the share of seen targets is told: all of a large split would take seconds."""


def empty_histories(data: MatchData, queries: Queries) -> Tensor:
    """bool [Q]: queries without an earlier event on an item that training knows."""
    user, end = torch.from_numpy(queries.user), torch.from_numpy(queries.history_end)
    return data.gather.lengths(user, end) == 0


def unknown_users(data: MatchData, queries: Queries) -> Tensor:
    """bool [Q]: queries with an empty history and no known user feature either."""
    empty = empty_histories(data, queries)
    rows = empty.nonzero().squeeze(1)
    if len(rows) == 0:
        return empty
    index = rows.numpy()
    user, end = queries.user[index], queries.history_end[index]
    features = data.gather(torch.from_numpy(user), torch.from_numpy(end))
    unknown = torch.zeros(len(queries), dtype=torch.bool)
    unknown[rows] = ~any_known(
        features,
        data.encoded.schema.profile,
        scaled=data.encoded.scales,
        rows=len(rows),
    )
    return unknown


def seen_targets(data: MatchData, split: str) -> tuple[int, int]:
    """Target events whose item the query's own history holds, and all: of at most LOOKED_AT
    queries, evenly apart."""
    queries, interactions = data.queries(split), data.interactions
    count = min(len(queries), LOOKED_AT)
    rows = np.arange(count) * len(queries) // max(count, 1)
    start, end = interactions.offsets[queries.user[rows]], queries.history_end[rows]
    seen, asked = (
        owner * interactions.num_items + interactions.items[events]
        for owner, events in (
            ragged(start, end - start),
            ragged(end, queries.target_end[rows] - end),
        )
    )
    return int(np.isin(asked, seen).sum()), len(asked)


def query_counts(data: MatchData, split: str) -> dict[str, int]:
    """How many queries a split has, how many have an empty history, and how those are ranked."""
    queries = data.queries(split)
    empty = int(empty_histories(data, queries).sum())
    unknown = int(unknown_users(data, queries).sum())
    return {
        "queries": len(queries),
        "empty_history": empty,
        "ranked_by_features": empty - unknown,
        "ranked_by_popularity": unknown,
    }


def target_shares(data: MatchData) -> dict[str, dict[str, float]]:
    """Of each split's targets the shares without a training event, and in the query's history."""
    counts = {
        "unseen_targets": {name: data.unseen_targets(name) for name in HELD_OUT},
        "seen_targets": {name: seen_targets(data, name) for name in HELD_OUT},
    }
    return {
        key: {name: part / max(whole, 1) for name, (part, whole) in splits.items()}
        for key, splits in counts.items()
    }
