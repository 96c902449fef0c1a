"""Past items without a copy a place. B rows, L length, P places, M distinct items, D width."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rechub_cli.errors import RechubError
from rechub_cli.layers.rows import is_traced, rows_at, weighted_rows


@dataclass(frozen=True)
class PastItems:
    """vectors: [B, L, D]; or [M, D] with index, int64 [B, L], that says which stands where."""

    vectors: Tensor
    index: Tensor | None = None

    @property
    def width(self) -> int:
        """L."""
        return (self.vectors if self.index is None else self.index).shape[1]

    def map(self, layer: Callable[[Tensor], Tensor]) -> PastItems:
        """What ``layer`` makes of each vector by itself."""
        return PastItems(layer(self.vectors), self.index)

    def at(self, place: Tensor) -> PastItems:
        """Those at the places int64 [B, P]: P wide. Raises RechubError where a place is not < L."""
        if self.index is None:
            return PastItems(vectors_at(self.vectors, place))
        _check_places(place, self.width)
        return PastItems(self.vectors, self.index.gather(1, place))

    def expand(self) -> Tensor:
        """[B, L, D]."""
        return self.vectors if self.index is None else rows_at(self.vectors, self.index)

    def chosen(self, which: Tensor) -> Tensor:
        """The one that ``which``, bool [B, L], marks in each row, zeros where none: [B, D]."""
        if self.index is None:
            return self.weighted(which.to(self.vectors.dtype))
        place = which.int().argmax(dim=1, keepdim=True)
        found = rows_at(self.vectors, self.index.gather(1, place).squeeze(1))
        return found * which.any(dim=1, keepdim=True)

    def weighted(self, weights: Tensor) -> Tensor:
        """Their sum under weights [B, L]: [B, D]."""
        if self.index is None:
            return torch.bmm(weights.unsqueeze(1), self.vectors).squeeze(1)
        return weighted_rows(self.vectors, self.index, weights)


def vectors_at(vectors: Tensor, place: Tensor) -> Tensor:
    """Those of [B, L, D] at the places int64 [B, P]: [B, P, D].

    Raises RechubError where a place is not < L (on a CPU; a GPU ends in an error of its own).
    """
    rows, width, dim = vectors.shape
    if vectors.device.type != "cpu" or is_traced():
        return vectors.gather(1, place.unsqueeze(-1).expand(-1, -1, dim))
    # On a CPU gather moves, and adds up in its gradient, number by number. A lookup moves whole
    # rows, and would find those of another user.
    _check_places(place, width)
    first = torch.arange(rows).unsqueeze(1) * width
    return torch.nn.functional.embedding(first + place, vectors.reshape(rows * width, dim))


def _check_places(place: Tensor, width: int) -> None:
    if place.device.type != "cpu" or torch.compiler.is_compiling() or not place.numel():
        return
    if int(place.max()) >= width:
        raise RechubError(
            f"a history has length {int(place.max()) + 1}, and the batch {width} places a history"
        )
