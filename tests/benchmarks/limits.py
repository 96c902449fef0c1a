"""What the machine can do at best, measured beside everything else."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor


class Matmul:
    """A bare product of the size of a small training step's. rows, width, columns: of it."""

    def __init__(self, rows: int = 2_048, width: int = 64, columns: int = 4_096) -> None:
        self.left, self.right = torch.ones(rows, width), torch.ones(width, columns)
        self.out = torch.empty(rows, columns)
        self.flops = 2 * rows * width * columns

    def __call__(self) -> None:
        torch.mm(self.left, self.right, out=self.out)


class Copy:
    """A copy of 32 MiB, which are held only where it is asked for."""

    @cached_property
    def tensors(self) -> tuple[Tensor, Tensor]:
        return torch.ones(8 << 20), torch.zeros(8 << 20)

    def __call__(self) -> None:
        source, target = self.tensors
        target.copy_(source)


matmul, copy_memory = Matmul(), Copy()
