"""Negatives, drawn afresh at every step by a seeded generator, vectorised.

Q rows of the batch, N negatives, I items of the catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rechub_cli.errors import ConfigError

SAMPLERS = ("full", "uniform", "popularity", "in_batch", "mixed")


@dataclass(frozen=True)
class Negatives:
    """What a sampler draws for one batch.

    rows: catalogue rows int64, [N] shared by the batch or [Q, N] of each row.
    expected: how often each row of the catalogue is expected among them, float32 [I].
    """

    rows: Tensor
    expected: Tensor


@dataclass(frozen=True)
class NegativeSampler:
    """Draws negatives of one kind.

    kind: uniform | popularity | in_batch | mixed (in-batch beside uniform).
    items: the catalogue rows to draw from. counts: training events of every row, int64 [I].
    num_negatives: drawn a batch (shared) or a row. alpha: popularity draws ~ count^alpha.
    """

    kind: str
    items: Tensor
    counts: Tensor
    num_negatives: int = 0
    alpha: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in SAMPLERS[1:]:
            raise ConfigError(f"sampler={self.kind!r}; allowed: {', '.join(SAMPLERS[1:])}")
        if self.kind != "in_batch" and self.num_negatives < 1:
            raise ConfigError(
                f"sampler={self.kind} needs num_negatives >= 1, found {self.num_negatives}"
            )

    def draw(self, target: Tensor, generator: torch.Generator, *, shared: bool) -> Negatives:
        """target: the batch's positives, catalogue rows int64 [Q]."""
        drawn_shape = (self.num_negatives,) if shared else (len(target), self.num_negatives)
        if self.kind == "in_batch":
            return Negatives(target, len(target) * self._share(1.0))
        if self.kind == "uniform":
            return Negatives(self._uniform(drawn_shape, generator), self._uniform_expected())
        if self.kind == "popularity":
            share = self._share(self.alpha)
            return Negatives(_draw(share, drawn_shape, generator), self.num_negatives * share)
        drawn = self._uniform(drawn_shape, generator)
        batch = target if shared else target.expand(len(target), -1)
        expected = len(target) * self._share(1.0) + self._uniform_expected()
        return Negatives(torch.cat([batch, drawn], dim=-1), expected)

    def _uniform(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        drawn: Tensor = self.items[torch.randint(len(self.items), shape, generator=generator)]
        return drawn

    def _uniform_expected(self) -> Tensor:
        expected = torch.zeros(len(self.counts))
        expected[self.items] = self.num_negatives / len(self.items)
        return expected

    def _share(self, alpha: float) -> Tensor:
        """Probability of each catalogue row, ~ count^alpha over the items to draw from."""
        weights = torch.zeros(len(self.counts), dtype=torch.float64)
        weights[self.items] = self.counts[self.items].double() ** alpha
        return (weights / weights.sum()).float()


def _draw(share: Tensor, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Rows by inverse transform: its time does not grow with the number of draws' support."""
    steps = share.double().cumsum(0)
    at = torch.rand(shape, generator=generator, dtype=torch.float64) * steps[-1]
    found: Tensor = torch.searchsorted(steps, at, right=True).clamp(max=len(share) - 1)
    return found


class KnownPairs:
    """Which (user, item) pairs are training events, by binary search."""

    def __init__(self, users: Tensor, items: Tensor, *, num_items: int) -> None:
        self.num_items = num_items
        self.keys = torch.unique(users * num_items + items)

    def contains(self, user: Tensor, rows: Tensor) -> Tensor:
        """user: int64 [Q]. rows: int64 [N] or [Q, N]. -> bool [Q, N]."""
        keys = user.unsqueeze(1) * self.num_items + rows
        at = torch.searchsorted(self.keys, keys).clamp(max=len(self.keys) - 1)
        found: Tensor = self.keys[at] == keys
        return found
