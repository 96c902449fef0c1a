"""The distinct rows of many, and where others stand among them."""

from __future__ import annotations

import torch
from torch import Tensor

from rechub_cli.layers.rows import values_at

MARKED = 16
"""Distinct rows of a catalogue are marked in a table of it, unless so many times fewer are asked
for: then sorting them is faster."""


def distinct(rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """torch.unique with its inverse, of ``rows`` in 0..count-1; sorts only where they are few."""
    if count > MARKED * rows.numel():
        sorted_rows: tuple[Tensor, Tensor] = torch.unique(rows, return_inverse=True)
        return sorted_rows
    seen = torch.zeros(count, dtype=torch.bool)
    seen[rows.flatten()] = True
    found = seen.nonzero().flatten()
    place = torch.empty(count, dtype=torch.int64)
    place[found] = torch.arange(len(found))
    return found, values_at(place, rows)


def find(rows: Tensor, values: Tensor, count: int) -> Tensor:
    """Where each of the ``values`` stands among ascending ``rows``, -1 where it does not: int64.

    Both are in 0..count-1; see distinct for when they are sorted through.
    """
    if count > MARKED * (rows.numel() + values.numel()):
        at = torch.searchsorted(rows, values).clamp(max=len(rows) - 1)
        return torch.where(values_at(rows, at) == values, at, -1)
    place = torch.full((count,), -1)
    place[rows] = torch.arange(len(rows))
    return values_at(place, values)
