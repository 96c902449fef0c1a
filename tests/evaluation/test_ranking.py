"""Exact ranking by hand: ties, seen items, targets that cannot be ranked. I = 6 items."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rechub_cli.data.filters import FilterOptions
from rechub_cli.data.interactions import Interactions, index_raw
from rechub_cli.data.ml_100k import read_ml_100k
from rechub_cli.data.splits import Queries, leave_one_out
from rechub_cli.errors import GateError
from rechub_cli.evaluation.baselines import Popularity, SequentialRules
from rechub_cli.evaluation.metrics import compute_metrics
from rechub_cli.evaluation.ranking import GROUP, MISS, Ranking, block_rows, rank_queries

ALL = torch.ones(6, dtype=torch.bool)


def rank(
    scores: list[list[float]],
    history: list[list[int]],
    targets: list[list[int]],
    *,
    candidates: torch.Tensor = ALL,
    mask_seen: bool = True,
    top_k: tuple[int, ...] = (3,),
    size: int | None = None,
) -> Ranking:
    events = [h + t for h, t in zip(history, targets, strict=True)]
    offsets = np.concatenate([[0], np.cumsum([len(r) for r in events])])
    items = np.array([i for r in events for i in r], dtype=np.int32)
    data = Interactions(offsets, items, len(candidates))
    ends = offsets[:-1] + np.array([len(h) for h in history])
    table = torch.tensor(scores)
    return rank_queries(
        lambda part: table[part].clone(),
        interactions=data,
        queries=Queries("test", np.arange(len(events)), ends, offsets[1:]),
        candidates=candidates,
        mask_seen=mask_seen,
        top_k=top_k,
        size=size,
    )


def test_ties_count_against_the_model() -> None:
    found = rank([[1.0, 2, 2, 0, 2, 3]], [[]], [[1]])
    assert found.ranks.tolist() == [4]  # item 5 above, items 2 and 4 equal
    assert rank([[1.0] * 6], [[]], [[0]]).ranks.tolist() == [6]
    assert rank([[1.0] * 6, [0, 1, 2, 3, 4, 5]], [[], []], [[0], [0, 5]]).ranks.tolist() == [
        6,
        6,
        1,
    ]


def test_seen_items_step_aside_but_a_target_never_does() -> None:
    scores, history = [[6.0, 5, 4, 3, 2, 1]], [[0, 1, 3]]
    assert rank(scores, history, [[3]]).ranks.tolist() == [2]
    assert rank(scores, history, [[3]], mask_seen=False).ranks.tolist() == [4]
    assert rank(scores, history, [[3]]).top_items.tolist() == [[2, 3, 4]]


def test_a_target_that_is_no_candidate_is_a_miss_and_is_counted() -> None:
    allowed = ALL.clone()
    allowed[1] = False
    found = rank([[1.0, 9, 2, 0, 0, 0]], [[]], [[1, 2]], candidates=allowed)
    assert found.ranks.tolist() == [MISS, 1]
    metrics = compute_metrics(found, top_k=[3], num_items=5)
    assert metrics["recall@3"] == 0.5
    assert metrics["hr@3"] == 1.0


def test_repeated_targets_count_once() -> None:
    found = rank([[6.0, 5, 4, 3, 2, 1]], [[0]], [[2, 2, 4]])
    assert found.ranks.tolist() == [2, 4]
    assert found.target_offsets.tolist() == [0, 2]


def test_queries_without_targets_are_not_counted() -> None:
    found = rank([[6.0, 5, 4, 3, 2, 1]] * 2, [[], []], [[], [0]])
    assert compute_metrics(found, top_k=[1], num_items=6)["recall@1"] == 1.0


def test_lists_end_early_and_cut_offs_may_pass_the_catalogue() -> None:
    allowed = torch.tensor([True, True, False, False, False, False])
    found = rank([[1.0, 2, 3, 4, 5, 6]], [[]], [[0]], candidates=allowed, top_k=(3, 50))
    assert found.top_items.tolist() == [[1, 0, -1, -1, -1, -1]]
    metrics = compute_metrics(found, top_k=[3, 50], num_items=2)
    assert metrics["coverage@50"] == 1.0
    assert metrics["ndcg@50"] == pytest.approx(1 / np.log2(3))


def test_nan_is_named() -> None:
    with pytest.raises(GateError, match=r"test query 1 \(user row 1\) is NaN"):
        rank([[0.0] * 6, [0, float("nan"), 0, 0, 0, 0]], [[], []], [[0], [0]])


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_blocks_and_a_slow_count_agree(data: st.DataObject) -> None:
    """Any block size gives the ranks of a plain loop."""
    size = data.draw(st.integers(1, 7))
    items = st.lists(st.integers(0, 5), max_size=4, unique=True)
    draws = [(data.draw(items), data.draw(items)) for _ in range(size)]
    numbers = st.lists(st.integers(0, 3), min_size=6, max_size=6)
    scores = [[float(x) for x in data.draw(numbers)] for _ in range(size)]
    history, targets = [h for h, _ in draws], [t for _, t in draws]
    block = data.draw(st.sampled_from([1, 2, None]))
    found = rank(scores, history, targets, size=block)
    expected = []
    for row, seen, wanted in zip(scores, history, targets, strict=True):
        others = [i for i in range(6) if i not in wanted and i not in seen]
        for target in wanted:
            ahead = sum(row[i] >= row[target] for i in others)
            before = sum(
                (row[t], -wanted.index(t)) > (row[target], -wanted.index(target)) for t in wanted
            )
            expected.append(1 + ahead + before)
    assert found.ranks.tolist() == expected


@pytest.mark.parametrize("width", [1, 3, 10])
def test_the_lists_of_a_large_catalogue_are_those_of_a_full_sort(width: int) -> None:
    """Equal scores, items left out, and the best ones anywhere, the last of all among them."""
    generator = torch.Generator().manual_seed(width)
    size = GROUP * GROUP * 10 + 7
    scores = torch.randint(0, 500, (40, size), generator=generator).float()
    scores[::2] = torch.rand((20, size), generator=generator)
    scores[::3, -1] = 1000.0
    scores[1, width // 2 :] = -torch.inf
    rows = scores.tolist()
    offered = torch.rand(size, generator=generator) < 0.9
    offered[-1] = True
    found = rank(rows, [[0]] * 40, [[1]] * 40, candidates=offered, top_k=(width,)).top_items
    kept = scores.masked_fill(~offered, -torch.inf)
    kept[:, 0] = -torch.inf
    best = kept.sort(dim=1, descending=True).values[:, :width]
    items = torch.from_numpy(found)
    at = kept.gather(1, items.clamp(min=0)).masked_fill(items < 0, -torch.inf)
    assert torch.equal(at, best)
    assert all(len(set(row) - {-1}) == np.count_nonzero(row >= 0) for row in found)


@pytest.mark.parametrize(
    ("num_items", "rows"), [(4096, 1024), (100_000, 128), (1_000_000, 67), (100_000_000, 1)]
)
def test_a_block_is_bounded_by_bytes(num_items: int, rows: int) -> None:
    assert block_rows(num_items) == rows


def test_baselines_give_the_known_figures(real_data: Path) -> None:
    """ml-100k, leave-one-out: popularity .0838 / .0432 / .1972, rules .2047 / .1131 / .4740."""
    raw = read_ml_100k(str(real_data / "ml-100k"), rating_threshold=None, filters=FilterOptions())
    data = index_raw(raw)[0]
    split = leave_one_out(data)
    known: list[tuple[Popularity | SequentialRules, tuple[float, float, float]]] = [
        (Popularity.fit(data, split.train_end), (0.0838, 0.0432, 0.1972)),
        (SequentialRules.fit(data, split.train_end), (0.2047, 0.1131, 0.4740)),
    ]
    for baseline, figures in known:
        ranking = rank_queries(
            baseline.scorer(split.test),
            interactions=data,
            queries=split.test,
            candidates=torch.ones(data.num_items, dtype=torch.bool),
            mask_seen=True,
            top_k=[10, 50],
        )
        metrics = compute_metrics(ranking, top_k=[10, 50], num_items=data.num_items)
        found = tuple(round(metrics[m], 4) for m in ("hr@10", "ndcg@10", "hr@50"))
        assert found == figures


def test_popularity_counts_training_events_only() -> None:
    data = Interactions(np.array([0, 4]), np.array([0, 0, 1, 2], dtype=np.int32), 3)
    share = Popularity.fit(data, np.array([3])).share
    assert share.tolist() == pytest.approx([2 / 3, 1 / 3, 0])
