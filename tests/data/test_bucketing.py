"""Batches of like length: all rows once, and the order that an estimate samples."""

from __future__ import annotations

import pytest
import torch

from rechub_cli.data.bucketing import bucketed, golden_walk


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("spread", [False, True])
def test_every_row_comes_once(spread: bool) -> None:
    length = torch.randint(1, 200, (1_003,), generator=generator())
    rows = torch.cat(list(bucketed(length, 10, generator(), spread=spread)))
    assert rows.sort().values.tolist() == list(range(1_003))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 34, 100, 977, 1_000])
def test_a_walk_visits_each_place_once(count: int) -> None:
    assert sorted(golden_walk(count).tolist()) == list(range(count))


@pytest.mark.parametrize("first", [10, 20, 50])
def test_the_first_batches_of_a_spread_order_are_of_all_lengths(first: int) -> None:
    """Random ones are off by a fifth or so: here most histories are short, few are long."""
    logs = 3 + torch.randn(20_000, generator=generator())
    length = logs.exp().long().clamp(1, 200)
    batches = list(bucketed(length, 32, generator(), spread=True))
    found = [length[batch].double().mean() for batch in batches]
    whole = torch.stack(found).mean().item()
    assert torch.stack(found[:first]).mean().item() == pytest.approx(whole, rel=0.1)
