"""What the machine can do at best, measured beside everything else."""

from __future__ import annotations

import torch


class Matmul:
    """A bare product of the size of a small training step's. rows, width, columns: of it."""

    def __init__(self, rows: int = 2_048, width: int = 64, columns: int = 4_096) -> None:
        self.left, self.right = torch.ones(rows, width), torch.ones(width, columns)
        self.out = torch.empty(rows, columns)
        self.flops = 2 * rows * width * columns

    def __call__(self) -> None:
        torch.mm(self.left, self.right, out=self.out)


class Copy:
    """A copy of 32 MiB."""

    def __init__(self) -> None:
        self.source = torch.ones(8 << 20)
        self.target = torch.empty_like(self.source)

    def __call__(self) -> None:
        self.target.copy_(self.source)


matmul, copy_memory = Matmul(), Copy()
