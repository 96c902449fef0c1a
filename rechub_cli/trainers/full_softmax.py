"""The softmax over a whole catalogue, or over what was drawn of it, exact and in little memory.

Q queries, K interests, C candidates, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rechub_cli.layers.rows import ROW_STEP, values_at

CHUNK_ROWS, CHUNK_BYTES = 512, 32 << 20
"""The full softmax has at most so many rows, and about so many bytes of scores, at once; of
their probabilities, as many again."""
COLUMN_STEP = 64
"""Scores come in multiples of columns, the rest padding: products are slower where rows start at no
multiple of 64 bytes (52 GFLOP/s with 12,068 numbers a row, 69 with 12,096)."""
SPREAD = 1 << 20
"""At most so many numbers of ranges are spread at once, or those of one range."""


def full_softmax(
    queries: Tensor,
    items: Tensor,
    target: Tensor,
    *,
    temperature: float,
    excluded: Excluded | None = None,
    bias: Tensor | None = None,
    own_bias: Tensor | None = None,
    weight: Tensor | None = None,
) -> Tensor:
    """Exact softmax cross-entropy over all items, in chunks of rows.

    queries: [Q, D], or [Q, K, D]: then each item is scored by the best of the row's K.
    items: [C, D]. target: the positive's row in ``items``, int64 [Q]. excluded: which items are no
    candidates of a row; None: all are. bias: [C], what is added to the score of an item that is not
    the row's target, -inf for one that is no candidate; own_bias: [Q], to the target's. Neither has
    a gradient; None: 0.
    The gradient is made in the forward pass, so memory does not grow with Q x C.
    """
    loss: Tensor = _ChunkedSoftmax.apply(  # type: ignore[no-untyped-call] # torch has no types here
        queries, items, target, temperature, excluded, bias, own_bias, weight
    )
    return loss


class Excluded(NamedTuple):
    """Row q has no candidates ``columns[start[q] : stop[q]]``.

    start, stop: int64 [Q]. columns: rows of the items, int64.
    """

    start: Tensor
    stop: Tensor
    columns: Tensor

    def to(self, device: torch.device) -> Excluded:
        return Excluded(*(tensor.to(device) for tensor in self))

    def with_rows(self, extra: int) -> Excluded:
        """``extra`` rows more, which have all candidates."""
        start, stop = (_pad_rows(tensor, extra) for tensor in self[:2])
        return Excluded(start, stop, self.columns)

    def mask(self, width: int) -> Tensor:
        """Which of ``width`` items are none: bool [Q, width]."""
        found = torch.zeros(len(self.start), width, dtype=torch.bool, device=self.start.device)
        for row, place in spread_ranges(self.start, self.stop):
            found[row, values_at(self.columns, place)] = True
        return found

    def apply(self, products: Tensor, part: slice) -> None:
        """Put -inf into scores [n, K, C] of the rows ``part``."""
        _, several, width = products.shape
        for row, place in spread_ranges(self.start[part], self.stop[part]):
            cell = row.mul_(several * width).add_(values_at(self.columns, place))
            for _ in range(several):
                products.view(-1).index_fill_(0, cell, -torch.inf)
                cell += width


def spread_ranges(start: Tensor, stop: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Every number of the ranges start[q]..stop[q] - 1, and the q that it belongs to; int64.

    They come in blocks of ranges: at most SPREAD numbers, or one range, however long all are.
    """
    rows = max(1, SPREAD // max(1, int((stop - start).max())))
    for first in range(0, len(start), rows):
        part = slice(first, first + rows)
        count = stop[part] - start[part]
        row = torch.repeat_interleave(count)
        place = torch.repeat_interleave(start[part] - (count.cumsum(0) - count), count)
        yield row.add_(first), place.add_(torch.arange(len(place), device=place.device))


def _pad_rows(tensor: Tensor, extra: int) -> Tensor:
    """``extra`` rows of zeros behind [Q, ...]."""
    return torch.cat([tensor, tensor.new_zeros(extra, *tensor.shape[1:])]) if extra else tensor


def _shares(queries: Tensor, weight: Tensor | None) -> Tensor:
    """What each row's loss counts for, [Q]: nothing in a batch without weight."""
    if weight is None:
        return queries.new_full((len(queries),), 1 / len(queries))
    return weight / weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)


def _loss_and_gradient(products: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Each row's loss [n], and its gradient by the scores [n, K, C], which are overwritten.

    An item's score is the best of its K; equal ones share the gradient.
    """
    several = products.shape[1] > 1
    logits = products.amax(dim=1) if several else products[:, 0]
    index = torch.arange(len(logits), device=logits.device)
    # One kernel reads and writes each row while it is near. exp by itself is torch's slowest here
    # (MKL's, on a CPU of another maker): 10 times as slow where most scores are far below the top.
    probability = torch.softmax(logits, dim=1)
    own = probability[index, target]
    row_loss = -own.log()
    if bool((own < torch.finfo(own.dtype).tiny).any()):  # it has underflowed
        row_loss = logits.amax(dim=1) - probability.amax(dim=1).log() - logits[index, target]
    probability[index, target] = own - 1
    if not several:
        return row_loss, probability.unsqueeze(1)
    products.ge_(logits.unsqueeze(1))  # 1 where the best is; max's own indices are slow
    products.mul_((probability / products.sum(dim=1)).unsqueeze(1))
    return row_loss, products


class _Candidates(NamedTuple):
    """items: [C', D], of which the first ``real`` are no padding. Others: as of full_softmax."""

    items: Tensor
    real: int
    target: Tensor
    excluded: Excluded | None
    bias: Tensor | None
    own_bias: Tensor

    def scores(self, queries: Tensor, part: slice) -> Tensor:
        """Of the rows ``part``. queries: theirs, divided by the temperature, [n, K, D].
        Returns [n, K, C']."""
        products = (queries.flatten(0, 1) @ self.items.T).view(*queries.shape[:2], -1)
        row, target = torch.arange(len(products), device=products.device), self.target[part]
        own = products[row, :, target] + self.own_bias[part].unsqueeze(1)
        products[..., self.real :] = -torch.inf
        if self.bias is not None:
            products[..., : self.real] += self.bias
        if self.excluded is not None:
            self.excluded.apply(products, part)
        products[row, :, target] = own  # whatever became of it among the candidates
        return products


class _ChunkedSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        items: Tensor,
        target: Tensor,
        temperature: float,
        excluded: Excluded | None,
        bias: Tensor | None,
        own_bias: Tensor | None,
        weight: Tensor | None,
    ) -> Tensor:
        shape, rows, width = queries.shape, len(queries), queries.shape[-1]
        queries = queries.view(rows, -1, width)  # [Q, K, D]
        share = _shares(queries, weight)
        own_bias = torch.zeros_like(share) if own_bias is None else own_bias
        # Rows of no weight: matrix kernels are made and kept for every count of rows.
        extra = -rows % ROW_STEP
        queries, share, target, own_bias = (
            _pad_rows(t, extra) for t in (queries, share, target, own_bias)
        )
        excluded = None if excluded is None else excluded.with_rows(extra)
        count, items = len(items), _pad_rows(items, -len(items) % COLUMN_STEP)
        candidates = _Candidates(items, count, target, excluded, bias, own_bias)
        grad_queries, grad_items = torch.empty_like(queries), torch.zeros_like(items)
        loss = queries.new_zeros(())
        several = queries.shape[1]
        size = max(1, min(CHUNK_ROWS, CHUNK_BYTES // (4 * len(items))) // several)
        for first in range(0, len(queries), size):
            part = slice(first, first + size)
            flat = queries[part].flatten(0, 1)
            scores = candidates.scores(queries[part] / temperature, part)
            row_loss, gradient = _loss_and_gradient(scores, target[part])
            loss += row_loss @ share[part]
            # Few queries are cheaper to scale than many scores.
            scale = (share[part] / temperature).repeat_interleave(several).unsqueeze(1)
            spread = gradient.flatten(0, 1)
            grad_queries[part] = (spread @ items).mul_(scale).view(-1, several, width)
            grad_items.addmm_(spread.T, flat * scale)
        ctx.save_for_backward(grad_queries[:rows].view(shape), grad_items[:count])
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor | None, ...]:
        grad_queries, grad_items = ctx.saved_tensors
        return grad_queries * grad[0], grad_items * grad[0], *(6 * [None])
