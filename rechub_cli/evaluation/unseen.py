"""Queries of users of whom nothing, or only their features, is known. Q queries."""

from __future__ import annotations

import torch
from torch import Tensor

from rechub_cli.data.dataset import MatchData
from rechub_cli.data.known import any_known
from rechub_cli.data.splits import Queries


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
