"""The softmax over the whole catalogue, exact and in little memory.

Q queries, K interests, C candidates, D width.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

CHUNK_ROWS, CHUNK_BYTES = 512, 64 << 20
"""The full softmax has at most so many rows, and about so many bytes of scores, at once."""
ROW_STEP = 64


def full_softmax(
    queries: Tensor,
    items: Tensor,
    target: Tensor,
    *,
    temperature: float,
    excluded: Excluded | None = None,
    weight: Tensor | None = None,
) -> Tensor:
    """Exact softmax cross-entropy over all items, in chunks of rows.

    queries: [Q, D], or [Q, K, D]: then each item is scored by the best of the row's K.
    items: [C, D]. target: the positive's row in ``items``, int64 [Q]. excluded: which items are no
    candidates of a row; None: all are.
    The gradient is made in the forward pass, so memory does not grow with Q x C.
    """
    loss: Tensor = _ChunkedSoftmax.apply(  # type: ignore[no-untyped-call] # torch has no types here
        queries, items, target, temperature, excluded, weight
    )
    return loss


class Excluded(NamedTuple):
    """Row q has no candidates ``columns[start[q] : stop[q]]``, but for its target.

    start, stop: int64 [Q]. columns: rows of the items, int64.
    """

    start: Tensor
    stop: Tensor
    columns: Tensor

    def apply(self, products: Tensor, target: Tensor, *, first: int) -> None:
        """Put -inf into scores [n, K, C] of the rows from ``first`` on."""
        count, several, width = products.shape
        index = torch.arange(count, device=products.device)
        kept = products[index, :, target]
        part = slice(first, first + count)
        row, place = spread_ranges(self.start[part], self.stop[part])
        cell = row.mul_(several * width).add_(self.columns[place])
        for _ in range(several):
            products.view(-1).index_fill_(0, cell, -torch.inf)
            cell += width
        products[index, :, target] = kept


def spread_ranges(start: Tensor, stop: Tensor) -> tuple[Tensor, Tensor]:
    """Every number of the ranges start[q]..stop[q] - 1, and the q that it belongs to; int64."""
    count = stop - start
    row = torch.repeat_interleave(count)
    place = torch.repeat_interleave(start - (count.cumsum(0) - count), count)
    return row, place.add_(torch.arange(len(place), device=place.device))


def _pad_rows(tensor: Tensor, extra: int) -> Tensor:
    """``extra`` rows of zeros behind [Q, ...]."""
    return torch.cat([tensor, tensor.new_zeros(extra, *tensor.shape[1:])]) if extra else tensor


def _to_gradient(products: Tensor, target: Tensor, share: Tensor) -> Tensor:
    """The loss of rows with weights ``share`` [n]; scores [n, K, C] become its gradient in place.

    An item's score is the best of its K; equal ones share the gradient.
    """
    if products.shape[1] == 1:
        logits = products[:, 0]
    else:
        logits = products.amax(dim=1)
        products.ge_(logits.unsqueeze(1))  # 1 where the best is; max's own indices are slow
    index = torch.arange(len(logits), device=logits.device)
    top = logits.amax(dim=1, keepdim=True)
    positive = logits[index, target]
    probability = logits.sub_(top).exp_()
    total = probability.sum(dim=1, keepdim=True)
    row_loss = total.squeeze(1).log() + top.squeeze(1) - positive
    probability /= total
    probability[index, target] -= 1
    probability *= share.unsqueeze(1)
    if products.shape[1] > 1:
        products.mul_((probability / products.sum(dim=1)).unsqueeze(1))
    return (row_loss * share).sum()


class _ChunkedSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        items: Tensor,
        target: Tensor,
        temperature: float,
        excluded: Excluded | None,
        weight: Tensor | None,
    ) -> Tensor:
        shape, rows, width = queries.shape, len(queries), queries.shape[-1]
        queries = queries.view(rows, -1, width)  # [Q, K, D]
        share = queries.new_full((rows,), 1 / rows) if weight is None else weight / weight.sum()
        # Rows of no weight: matrix kernels are made and kept for every count of rows.
        extra = -rows % ROW_STEP
        queries, share, target = (_pad_rows(t, extra) for t in (queries, share, target))
        if excluded is not None:
            start, stop = (_pad_rows(t, extra) for t in excluded[:2])
            excluded = Excluded(start, stop, excluded.columns)
        grad_queries, grad_items = torch.empty_like(queries), torch.zeros_like(items)
        loss = queries.new_zeros(())
        several = queries.shape[1]
        size = max(1, min(CHUNK_ROWS, CHUNK_BYTES // (4 * len(items))) // several)
        for first in range(0, len(queries), size):
            part = slice(first, first + size)
            flat = queries[part].flatten(0, 1)
            products = ((flat / temperature) @ items.T).view(-1, several, len(items))
            if excluded is not None:
                excluded.apply(products, target[part], first=first)
            loss += _to_gradient(products, target[part], share[part])
            spread = products.flatten(0, 1)
            grad_queries[part] = (spread @ items).div_(temperature).view(-1, several, width)
            grad_items.addmm_(spread.T, flat, alpha=1 / temperature)
        ctx.save_for_backward(grad_queries[:rows].view(shape), grad_items)
        return loss

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor | None, ...]:
        grad_queries, grad_items = ctx.saved_tensors
        return grad_queries * grad[0], grad_items * grad[0], None, None, None, None
