"""Which rows make a batch: those of like length, in shuffled order. W rows."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

POOL_BATCHES = 32
"""Batches that are shuffled together before they are sorted by length."""


def bucketed(
    length: Tensor, size: int, generator: torch.Generator, *, spread: bool = False
) -> Iterator[Tensor]:
    """Rows int64 [size] of batches of like ``length`` [W], all rows once, in shuffled order.

    spread: instead in an order whose first batches, however many, are of all lengths alike.
    """
    order = torch.randperm(len(length), generator=generator)
    cuts = [
        torch.split(part[torch.argsort(length[part], stable=True)], size)
        for part in torch.split(order, size * POOL_BATCHES)
    ]
    batches = [batch for part in cuts for batch in part]
    order = torch.randperm(len(batches), generator=generator)
    if spread:
        mean = torch.stack([length[batch].float().mean() for batch in batches])
        order = torch.argsort(mean, stable=True)[golden_walk(len(batches))]
    for index in order.tolist():
        yield batches[index]


def golden_walk(count: int) -> Tensor:
    """0..count-1 in an order that lies evenly over them wherever it is cut, int64 [count]."""
    golden = (math.sqrt(5) - 1) / 2
    return (0.5 + torch.arange(count).double() * golden).frac().argsort().argsort()
