"""Metrics by history length and by target popularity. Q queries, T targets, k cut-off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rechub_cli.data.dataset import MatchData
from rechub_cli.data.interactions import Ints
from rechub_cli.data.splits import Queries
from rechub_cli.evaluation.metrics import compute_metrics
from rechub_cli.evaluation.ranking import Ranking

SLICES = ("history_length", "popularity")
METRICS = ("recall", "ndcg", "mrr")


def metrics_by(
    name: str, ranking: Ranking, data: MatchData, queries: Queries, *, top_k: Sequence[int]
) -> list[dict[str, Any]]:
    """Metrics in buckets of 0, 1, 2-3, 4-7, 8-15 and so on; those without a query are left out.

    name: ``history_length``, the events before the query; or ``popularity``, the training events
    of the target, where every target counts as a query of its own (0: cold items).
    Returns rows of ``bucket``, ``count`` (queries or targets) and the metrics, in order.
    """
    if name == "history_length":
        numbers = queries.history_end - data.interactions.offsets[queries.user]
    else:
        ranking = one_query_a_target(ranking)
        numbers = data.train_counts.numpy()[ranking.targets]
    bucket = bucket_of(numbers)
    asked = np.diff(ranking.target_offsets) > 0
    out = []
    for which in np.unique(bucket[asked]):
        rows = (bucket == which) & asked
        found = compute_metrics(take_queries(ranking, rows), top_k=top_k, num_items=1)
        kept = {f"{m}@{k}": found[f"{m}@{k}"] for k in top_k for m in METRICS}
        out.append({"bucket": bucket_name(int(which)), "count": int(rows.sum()), **kept})
    return out


def bucket_of(numbers: Ints) -> Ints:
    """0 for 0, else 1 + floor(log2 n)."""
    return np.where(numbers > 0, np.frexp(numbers)[1], 0).astype(np.int64)


def bucket_name(bucket: int) -> str:
    """The numbers of a bucket: 0, 1, 2-3, 4-7 and so on."""
    return str(bucket) if bucket < 2 else f"{1 << (bucket - 1)}-{(1 << bucket) - 1}"


def take_queries(ranking: Ranking, rows: npt.NDArray[np.bool_]) -> Ranking:
    """The part of a ranking that belongs to some of its queries, bool [Q]."""
    counts = np.diff(ranking.target_offsets)
    kept = np.repeat(rows, counts)
    offsets = np.concatenate([[0], np.cumsum(counts[rows])]).astype(np.int64)
    return Ranking(ranking.ranks[kept], offsets, ranking.targets[kept], ranking.top_items[rows])


def one_query_a_target(ranking: Ranking) -> Ranking:
    """The same ranks with a query a target; the lists are left out: int64 [T, 0]."""
    total = len(ranking.targets)
    lists = np.empty((total, 0), dtype=np.int64)
    return Ranking(ranking.ranks, np.arange(total + 1), ranking.targets, lists)
