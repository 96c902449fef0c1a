"""Rows of a matrix by index, and weighted sums of them, with gradients that add up by row.

M rows of width D; the index is int64 [...], or [B, L].
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

INT16_ROWS = 2**15
ROW_STEP = 64
"""Products that are made of a part of the rows are made of a multiple; see in_steps."""
FEW_PLACES = 2048
"""Below so many places, or fewer than rows, torch's own gradients are faster."""


def values_at(values: Tensor, index: Tensor) -> Tensor:
    """values[index], of data without a gradient: [M, ...] -> [..., ...].

    On a CPU it takes a third of the time of the brackets.
    """
    return values.index_select(0, index.flatten()).view(*index.shape, *values.shape[1:])


def rows_at(vectors: Tensor, index: Tensor) -> Tensor:
    """vectors[index]: [M, D] -> [..., D]."""
    if is_traced() or not _grouping_pays(vectors, index):
        return nn.functional.embedding(index, vectors)
    found: Tensor = _Rows.apply(vectors, index)  # type: ignore[no-untyped-call] # no stub
    return found


def weighted_rows(vectors: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """sum over l of weights[b, l] vectors[index[b, l]]: [M, D] -> [B, D]."""
    if is_traced():
        return torch.bmm(weights.unsqueeze(1), rows_at(vectors, index)).squeeze(1)
    found: Tensor = _WeightedRows.apply(vectors, index, weights)  # type: ignore[no-untyped-call] # no stub
    return found


def pooled_rows(
    vectors: Tensor, index: Tensor, count: Tensor, mode: str, *, sparse: bool = False
) -> Tensor:
    """Mean or sum of the rows of each bag: of the first ``count[0]`` of the index, and so on.

    vectors: [M, D]. index: int64 [n]. count: int64 [B]. Returns [B, D], zeros of an empty bag.
    sparse: whether the gradient of the vectors is.
    """
    if sparse or is_traced() or not _grouping_pays(vectors, index):
        first = count.cumsum(0) - count
        return nn.functional.embedding_bag(index, vectors, first, mode=mode, sparse=sparse)
    found: Tensor = _PooledRows.apply(vectors, index, count, mode)  # type: ignore[no-untyped-call] # no stub
    return found


def in_steps(rows: Tensor, step: int) -> Tensor:
    """The rows [n], n > 0, and some of them again: their count is a multiple of ``step``.

    The CPU's matrix kernels are made for each shape, and kept.
    """
    return rows[torch.arange(round_up(len(rows), step), device=rows.device) % len(rows)]


def round_up(count: int, step: int) -> int:
    return -(-count // step) * step


def is_traced() -> bool:
    """Whether a call is compiled or exported, where a function of our own would break the graph."""
    return torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export()


def _grouping_pays(vectors: Tensor, index: Tensor) -> bool:
    return vectors.device.type == "cpu" and index.numel() >= max(FEW_PLACES, len(vectors))


class _Rows(torch.autograd.Function):
    """A lookup whose gradient is a sum over bags.

    The gradient takes .3 of the time of torch's for 12,800 places of 1,536 rows of 64, .6 for
    102,400 places.
    """

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.count = len(vectors)
        return nn.functional.embedding(index, vectors)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        order, first = _places(index, ctx.count)
        flat = grad.reshape(index.numel(), grad.shape[-1])
        return nn.functional.embedding_bag(order, flat, first, mode="sum"), None


class _WeightedRows(torch.autograd.Function):
    """Weighted sums and their gradients as sums over bags.

    The gradient of a vector is such a sum too, over the places that hold it. Nothing of size
    [B, L, D] is made: half to a quarter of the time of a lookup and a matrix product.
    """

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, index: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(vectors, index, weights)
        return _bags(index, vectors, weights)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, Tensor | None]:
        vectors, index, weights = ctx.saved_tensors
        of_vectors = of_weights = None
        if ctx.needs_input_grad[0]:
            order, first = _places(index, len(vectors))
            row = _quotients(order, index.shape[1])
            of_vectors = _bags(row, grad.contiguous(), values_at(weights.flatten(), order), first)
        if ctx.needs_input_grad[2]:
            with torch.enable_grad():
                own = weights.detach().requires_grad_()
                (of_weights,) = torch.autograd.grad(_bags(index, vectors, own), own, grad)
        return of_vectors, None, of_weights


class _PooledRows(torch.autograd.Function):
    """Bags whose gradient is a sum over bags too.

    It takes .2 to .3 of the time of torch's for 20,000 to 60,000 places of 700 to 2,000 rows.
    """

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, index: Tensor, count: Tensor, mode: str) -> Tensor:
        ctx.save_for_backward(index, count)
        ctx.count, ctx.mode = len(vectors), mode
        return nn.functional.embedding_bag(index, vectors, count.cumsum(0) - count, mode=mode)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        index, count = ctx.saved_tensors
        order, first = _places(index, ctx.count)
        bag = values_at(torch.repeat_interleave(count), order)
        if ctx.mode == "mean":
            grad = grad / count.clamp(min=1).unsqueeze(-1)
        of_vectors = nn.functional.embedding_bag(bag, grad.contiguous(), first, mode="sum")
        return of_vectors, None, None, None


def _places(index: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The places of an index into ``count`` rows, those of a row side by side; where each starts.

    Equal ones stand in the order found, so that a sum over them is the same each time.
    """
    flat = index.flatten()
    if flat.device.type == "cpu" and count <= INT16_ROWS:
        # A radix sort: an eighth to a quarter of the time.
        order = torch.from_numpy(flat.numpy().astype(np.int16).argsort(kind="stable"))
    else:
        order = flat.argsort(stable=True)
    each = torch.bincount(flat, minlength=count)
    return order, each.cumsum(0) - each


def _quotients(places: Tensor, by: int) -> Tensor:
    if places.device.type != "cpu":
        return places.div(by, rounding_mode="floor")
    return torch.from_numpy(places.numpy() // by)  # a tenth to a third of the time


def _bags(rows: Tensor, vectors: Tensor, weights: Tensor, first: Tensor | None = None) -> Tensor:
    """Weighted sums of vectors: a bag a row of ``rows`` [B, L], or from each ``first`` on."""
    return nn.functional.embedding_bag(
        rows, vectors.detach(), first, per_sample_weights=weights, mode="sum"
    )
