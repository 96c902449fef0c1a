"""Samplers: what they draw, how often, and what logQ makes of it. I items, Q rows."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from rechub_cli.data.batches import HistoryGather, TrainBatch
from rechub_cli.data.splits import Queries, Split
from rechub_cli.errors import ConfigError
from rechub_cli.trainers import full_softmax, negatives
from rechub_cli.trainers.full_softmax import spread_ranges
from rechub_cli.trainers.negatives import KnownPairs, NegativeSampler, UserItems, hardest

COUNTS = torch.tensor([8, 4, 0, 2, 2])
ITEMS = torch.tensor([0, 1, 3, 4])  # row 2 was never trained
TARGET = torch.tensor([0, 1, 0])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sampler(kind: str, num: int = 6, alpha: float = 1.0) -> NegativeSampler:
    return NegativeSampler(kind, ITEMS, COUNTS, num_negatives=num, alpha=alpha)


def draw(
    drawing: NegativeSampler,
    generator: torch.Generator,
    *,
    target: Tensor = TARGET,
    shared: bool = True,
) -> Tensor:
    (drawn,) = drawing.draw(target, generator, shared=shared)
    return drawn


@pytest.mark.parametrize(
    ("kind", "shared", "shapes"),
    [
        ("uniform", True, [(6,)]),
        ("uniform", False, [(3, 6)]),
        ("popularity", True, [(6,)]),
        ("popularity", False, [(3, 6)]),
        ("in_batch", True, [(3,)]),
        ("in_batch", False, [(3,)]),
        ("mixed", True, [(9,)]),
        ("mixed", False, [(3,), (3, 6)]),
    ],
)
def test_shapes(kind: str, shared: bool, shapes: list[tuple[int, ...]]) -> None:
    drawn = sampler(kind).draw(TARGET, generator(), shared=shared)
    assert [tuple(part.shape) for part in drawn] == shapes
    assert not any((part == 2).any() for part in drawn)


def test_expected_counts_by_hand() -> None:
    """6 draws over 4 items, 3 rows a batch; of 16 events the items have 8, 4, 2, 2."""
    expect = {
        "uniform": [1.5, 1.5, 1.5, 1.5],
        "popularity": [3, 1.5, 0.75, 0.75],
        "in_batch": [1.5, 0.75, 0.375, 0.375],
        "mixed": [3, 2.25, 1.875, 1.875],
    }
    for kind, values in expect.items():
        found = sampler(kind).expected(ITEMS, batch_size=3)
        assert_close(found, torch.tensor(values, dtype=torch.float32))


def test_of_many_targets_a_random_part_is_in_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(negatives, "IN_BATCH_LIMIT", 2)
    target = torch.tensor([0, 1, 3])
    drawn = {
        tuple(draw(sampler("in_batch"), generator(n), target=target).tolist()) for n in range(50)
    }
    assert drawn == set(permutations([0, 1, 3], 2))
    assert len(sampler("mixed").draw(target, generator(), shared=False)[0]) == 2
    found = sampler("in_batch").expected(ITEMS, batch_size=3)
    assert found.tolist() == [1, 0.5, 0.25, 0.25]


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_popularity_is_drawn_in_proportion(alpha: float) -> None:
    drawn = draw(sampler("popularity", num=40_000, alpha=alpha), generator())
    share = torch.bincount(drawn, minlength=5) / 40_000
    wanted = COUNTS.float() ** alpha
    wanted[2] = 0
    assert_close(share, wanted / wanted.sum(), atol=0.01, rtol=0)


def test_draws_are_fresh_and_seeded() -> None:
    one, again = generator(1), generator(1)
    first, second = (draw(sampler("uniform"), one) for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(draw(sampler("uniform"), again), first)


def test_hard_pools_are_distinct_and_of_trained_items() -> None:
    drawing = NegativeSampler("hard", ITEMS, COUNTS, num_negatives=1, pool_size=3)
    first, second = (draw(drawing, generator(seed), shared=False) for seed in (1, 2))
    assert first.unique().shape == (3,)
    assert not (first == 2).any()
    assert sorted(first.tolist()) != sorted(second.tolist())
    assert torch.equal(draw(drawing, generator(1)), first)
    whole = NegativeSampler("hard", ITEMS, COUNTS, num_negatives=1, pool_size=100)
    assert sorted(draw(whole, generator()).tolist()) == ITEMS.tolist()


def test_the_hardest_are_the_highest_that_are_allowed() -> None:
    scores = torch.tensor([[0.1, 0.9, 0.5, 0.7], [4.0, 3.0, 2.0, 1.0]], requires_grad=True)
    excluded = torch.tensor([[False, True, False, False], [True, True, True, False]])
    kept, out = hardest(scores, excluded, 2)
    assert kept[0].tolist() == pytest.approx([0.7, 0.5])
    assert not out[0].any()
    # Two are asked for and one is allowed: the other does not count.
    assert kept[1, 0].item() == 1.0
    assert out[1].tolist() == [False, True]
    kept[0].sum().backward()  # type: ignore[no-untyped-call]
    assert scores.grad is not None
    assert scores.grad[0].tolist() == [0.0, 0.0, 1.0, 1.0]
    assert hardest(scores, excluded, 9)[0].shape == (2, 4)


def test_known_pairs() -> None:
    known = KnownPairs(torch.tensor([0, 0, 2]), torch.tensor([1, 3, 0]), num_items=5)
    found = known.contains(torch.tensor([0, 2]), torch.tensor([[1, 2], [0, 3]]))
    assert found.tolist() == [[True, False], [True, False]]
    shared = known.contains(torch.tensor([0, 1, 0]), torch.tensor([3, 0, 3]))
    assert shared.tolist() == [[True, False, True], [False, False, False], [True, False, True]]


def test_a_known_pair_is_sought_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """3 rows of 2 users against 3 draws of 2 items: 4 pairs."""
    known = KnownPairs(torch.tensor([0, 0, 2]), torch.tensor([1, 3, 0]), num_items=5)
    sought, search = [], torch.searchsorted

    def spy(keys: Tensor, wanted: Tensor) -> Tensor:
        sought.append(wanted.numel())
        return search(keys, wanted)

    monkeypatch.setattr(negatives.torch, "searchsorted", spy)
    known.contains(torch.tensor([0, 1, 0]), torch.tensor([3, 0, 3]))
    assert sought == [4]


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="allowed: uniform"):
        sampler("popular")
    with pytest.raises(ConfigError, match="num_negatives >= 1"):
        sampler("uniform", num=0)


def user_items(exclude: str) -> UserItems:
    """User 0 has items 4 1 4 2 and then two held-out ones, user 1 has 3 and 0; 1 is untrained."""
    items = torch.tensor([4, 1, 4, 2, 0, 3, 3, 0])
    before = torch.cat([torch.tensor([0]), (items != 1).cumsum(0)])
    padded = torch.cat([items[items != 1], torch.zeros(2, dtype=torch.int64)])
    offsets = torch.tensor([0, 6, 8])
    gather = SimpleNamespace(
        items=padded,
        known_before=before,
        known_start=before[offsets],
        offsets=offsets,
        padding_row=5,
    )
    none = np.zeros(0, dtype=np.int64)
    queries = [Queries(name, none, none, none) for name in ("valid", "test")]
    split = Split(np.array([4, 8]), *queries, protocol={})
    return UserItems(cast(HistoryGather, gather), split, exclude=exclude)


BATCH = TrainBatch(
    {},
    target=torch.tensor([2, 4, 0, 3]),  # the second: its user had it before
    user=torch.tensor([0, 0, 1, 1]),
    event=torch.tensor([3, 2, 7, 6]),
)


@pytest.mark.parametrize("spread", [1, 3, 1 << 20])
def test_a_user_s_items_by_hand(spread: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each once, however often it came, and whatever is spread at once."""
    monkeypatch.setattr(full_softmax, "SPREAD", spread)
    expect = {
        "seen": [(0, 4), (1, 4), (2, 3)],
        "known": [(0, 4), (0, 2), (1, 4), (1, 2), (2, 3), (2, 0), (3, 3), (3, 0)],
    }
    for exclude, pairs in expect.items():
        taken = user_items(exclude)
        found = [
            pair
            for row, place in spread_ranges(*taken.ranges(BATCH))
            for pair in zip(row.tolist(), taken.items[place].tolist(), strict=True)
        ]
        assert found == pairs
        among = taken.among(BATCH, torch.tensor([1, 3, 4])).mask(3)
        assert among.tolist() == [[(r, i) in pairs for i in (1, 3, 4)] for r in range(4)]


def test_a_user_of_many_rows_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    spread = []

    def spy(start: Tensor, stop: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        spread.append((stop - start).tolist())
        return spread_ranges(start, stop)

    monkeypatch.setattr(negatives, "spread_ranges", spy)
    user_items("seen").among(BATCH, torch.tensor([1, 3, 4]))
    assert spread == [[1, 1]]


@pytest.mark.parametrize("limit", [1, 5, 8, 100])
def test_ranges_are_spread_in_blocks(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(full_softmax, "SPREAD", limit)
    start, stop = torch.tensor([7, 0, 3, 9, 2]), torch.tensor([9, 0, 7, 10, 5])
    blocks = list(spread_ranges(start, stop))
    found = [pair for block in blocks for pair in torch.stack(block, 1).tolist()]
    assert found == [[q, n] for q in range(5) for n in range(start[q], stop[q])]
    assert max(len(row) for row, _ in blocks) <= max(limit, 4)
