"""Metrics in buckets, by hand: every query and every target is in exactly one. I = 20 items."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rechub_cli.data.dataset import MatchData
from rechub_cli.data.splits import Queries
from rechub_cli.evaluation.metrics import compute_metrics
from rechub_cli.evaluation.ranking import MISS, Ranking, rank_queries
from rechub_cli.evaluation.slices import SLICES, bucket_name, bucket_of, metrics_by

TOP_K = [1, 2]


def test_buckets_are_powers_of_two() -> None:
    numbers = np.array([0, 1, 2, 3, 4, 7, 8, 15, 16, 1023, 1024, 2**40])
    assert bucket_of(numbers).tolist() == [0, 1, 2, 2, 3, 3, 4, 4, 5, 10, 11, 41]
    assert [bucket_name(b) for b in range(5)] == ["0", "1", "2-3", "4-7", "8-15"]


def queries(data: MatchData, lengths: list[int]) -> Queries:
    """The first users, each asked after so many events."""
    user = np.arange(len(lengths))
    end = data.interactions.offsets[user] + lengths
    return Queries("test", user, end, end + 1)


def test_by_history_length_by_hand(tiny: MatchData) -> None:
    """Ranks 1, 2 and 9 after 0, 2 and 3 events; one query without a target is not counted."""
    ranking = Ranking(
        np.array([1, 2, 9]), np.array([0, 1, 2, 3, 3]), np.array([4, 5, 6]), np.zeros((4, 2), int)
    )
    found = metrics_by("history_length", ranking, tiny, queries(tiny, [0, 2, 3, 2]), top_k=TOP_K)
    assert [(row["bucket"], row["count"]) for row in found] == [("0", 1), ("2-3", 2)]
    assert [row["recall@1"] for row in found] == [1, 0]
    assert [row["recall@2"] for row in found] == [1, 0.5]
    assert [row["mrr@2"] for row in found] == [1, 0.25]
    assert found[1]["ndcg@2"] == pytest.approx(0.5 / np.log2(3))


def test_by_popularity_counts_targets_and_names_the_cold(tiny: MatchData) -> None:
    """Two targets of one query lie in two buckets, each at its own rank."""
    data = MatchData(**{n: getattr(tiny, n) for n in MatchData.__dataclass_fields__})
    counts = np.zeros(20, dtype=np.int64)
    counts[[4, 5]] = [3, 2]
    data.train_counts = data.train_counts.new_tensor(counts)
    ranking = Ranking(
        np.array([1, MISS, 2]), np.array([0, 2, 3]), np.array([4, 6, 5]), np.zeros((2, 2), int)
    )
    found = metrics_by("popularity", ranking, data, queries(data, [3, 3]), top_k=TOP_K)
    assert [(row["bucket"], row["count"]) for row in found] == [("0", 1), ("2-3", 2)]
    assert [row["recall@1"] for row in found] == [0, 0.5]
    assert [row["recall@2"] for row in found] == [0, 1]
    assert found[1]["ndcg@2"] == pytest.approx((1 + 1 / np.log2(3)) / 2)


@pytest.mark.parametrize("name", SLICES)
def test_buckets_sum_to_the_whole(name: str, tiny: MatchData) -> None:
    """Under leave-one-out, weighted by their counts, for every metric."""
    asked = queries(tiny, [0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 1, 2])
    scores = tiny.train_counts + torch.linspace(0, 0.5, 20)
    ranking = rank_queries(
        lambda rows: scores.repeat(len(range(*rows.indices(len(asked)))), 1),
        interactions=tiny.interactions,
        queries=asked,
        candidates=tiny.candidates,
        mask_seen=True,
        top_k=[3, 10],
    )
    whole = compute_metrics(ranking, top_k=[3, 10], num_items=20)
    rows = metrics_by(name, ranking, tiny, asked, top_k=[3, 10])
    assert len(rows) > 1
    assert sum(row["count"] for row in rows) == len(asked)
    for key in set(rows[0]) - {"bucket", "count"}:
        found = sum(row["count"] * row[key] for row in rows) / len(asked)
        assert found == pytest.approx(whole[key]), key
