"""Metrics by hand. Four queries with the ranks (1, 4), (3), (none: no target) and (a miss)."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest

from rechub_cli.evaluation.metrics import compute_metrics
from rechub_cli.evaluation.names import METRICS
from rechub_cli.evaluation.ranking import MISS, Ranking

RANKING = Ranking(
    ranks=np.array([1, 4, 3, MISS]),
    target_offsets=np.array([0, 2, 3, 3, 4]),
    targets=np.array([7, 8, 5, 9]),
    top_items=np.array([[7, 1, 2, 8], [1, 2, 5, -1], [6, 6, 6, 6], [1, 2, 3, -1]]),
)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("recall@1", (1 / 2) / 3),
        ("recall@3", (1 / 2 + 1) / 3),
        ("recall@4", 2 / 3),
        ("hr@1", 1 / 3),
        ("hr@3", 2 / 3),
        ("precision@1", 1 / 3),
        ("precision@4", (2 / 4 + 1 / 4) / 3),
        ("mrr@1", 1 / 3),
        ("mrr@3", (1 + 1 / 3) / 3),
        # The ideal holds min(k, targets) gains: 1 at k = 1, 1 + 1 / log2(3) at k = 4.
        ("ndcg@1", 1 / 3),
        ("ndcg@3", (1 / (1 + 1 / log2(3)) + 1 / log2(4)) / 3),
        ("ndcg@4", ((1 + 1 / log2(5)) / (1 + 1 / log2(3)) + 1 / log2(4)) / 3),
        # Items 7, 1; with k = 4 items 7, 1, 2, 8, 5, 3. The query without a target is left out.
        ("coverage@1", 2 / 10),
        ("coverage@4", 6 / 10),
    ],
)
def test_values(metric: str, expected: float) -> None:
    found = compute_metrics(RANKING, top_k=[1, 3, 4], num_items=10)
    assert found[metric] == pytest.approx(expected, abs=1e-12)


def test_every_metric_stands_at_every_cut_off() -> None:
    found = compute_metrics(RANKING, top_k=[1, 50], num_items=10)
    assert set(found) == {f"{name}@{k}" for name in METRICS for k in (1, 50)}


def test_no_query_with_a_target_gives_zeros() -> None:
    empty = Ranking(
        np.zeros(0, dtype=int), np.array([0, 0]), np.zeros(0, dtype=int), np.ones((1, 2), dtype=int)
    )
    assert set(compute_metrics(empty, top_k=[2], num_items=3).values()) == {0.0}
