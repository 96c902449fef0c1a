"""Metrics of a ranking. Q queries with at least one target, k a cut-off."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rechub_cli.checks import check_known
from rechub_cli.evaluation.names import METRICS
from rechub_cli.evaluation.ranking import Ranking


def check_measured(monitor: str, top_k: Sequence[int]) -> None:
    """Raise ConfigError where ``compute_metrics`` at these cut-offs gives no such metric."""
    check_known("monitor", monitor, [f"{metric}@{k}" for metric in METRICS for k in top_k])


def compute_metrics(ranking: Ranking, *, top_k: Sequence[int], num_items: int) -> dict[str, float]:
    """Means over the queries that have targets, keyed ``recall@10`` and so on.

    recall: hits / targets. hr: any hit. ndcg: gain 1 / log2(1 + rank), the ideal over
    min(k, targets). mrr: 1 / rank of the first hit. precision: hits / k. coverage: share of
    the ``num_items`` candidates in any query's top k.
    """
    counts = np.diff(ranking.target_offsets)
    asked = counts > 0
    owner = np.repeat(np.arange(len(counts)), counts)
    best = np.full(len(counts), np.inf)
    np.minimum.at(best, owner, ranking.ranks.astype(np.float64))
    out: dict[str, float] = {}
    for k in top_k:
        hit = ranking.ranks <= k
        hits = np.bincount(owner, weights=hit, minlength=len(counts))
        gain = np.where(hit, 1 / np.log2(1.0 + np.minimum(ranking.ranks, k)), 0.0)
        gains = np.bincount(owner, weights=gain, minlength=len(counts))
        ideal = np.cumsum(1 / np.log2(2.0 + np.arange(k)))
        values = {
            "recall": hits / np.maximum(counts, 1),
            "hr": hits > 0,
            "ndcg": gains / ideal[np.clip(counts, 1, k) - 1],
            "mrr": np.where(best <= k, 1 / best, 0.0),
            "precision": hits / k,
        }
        for name, value in values.items():
            out[f"{name}@{k}"] = float(value[asked].mean()) if asked.any() else 0.0
        shown = ranking.top_items[asked, :k]
        different = np.count_nonzero(np.bincount(shown[shown >= 0]))
        out[f"coverage@{k}"] = different / max(num_items, 1)
    return out
