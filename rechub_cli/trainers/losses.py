"""Losses over scores; they know nothing of models.

Q queries, C candidates, N negatives, D width. Scores are already divided by temperature.
``excluded`` bool [Q, N] marks negatives that do not count (accidental hits); ``weight`` float [Q]
multiplies a row's loss. Every loss is the weighted mean over rows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

CHUNK_ROWS, CHUNK_BYTES = 512, 64 << 20
"""The full softmax has at most so many rows, and about so many bytes of scores, at once."""


def weighted_mean(rows: Tensor, weight: Tensor | None) -> Tensor:
    """Mean of per-row losses [Q], weighted where a weight is given."""
    if weight is None:
        return rows.mean()
    return (rows * weight).sum() / weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)


def full_softmax(
    queries: Tensor,
    items: Tensor,
    target: Tensor,
    *,
    temperature: float,
    weight: Tensor | None = None,
) -> Tensor:
    """Exact softmax cross-entropy over all items, in chunks of rows.

    queries: [Q, D]. items: [C, D]. target: the positive's row in ``items``, int64 [Q].
    The gradient is made in the forward pass, so memory does not grow with Q x C.
    """
    loss: Tensor = _ChunkedSoftmax.apply(queries, items, target, temperature, weight)  # type: ignore[no-untyped-call]
    return loss


class _ChunkedSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        items: Tensor,
        target: Tensor,
        temperature: float,
        weight: Tensor | None,
    ) -> Tensor:
        rows = len(queries)
        share = (
            torch.full_like(queries[:, 0], 1 / rows) if weight is None else weight / weight.sum()
        )
        grad_queries, grad_items = torch.empty_like(queries), torch.zeros_like(items)
        loss = queries.new_zeros(())
        size = max(1, min(CHUNK_ROWS, CHUNK_BYTES // (4 * len(items))))
        for first in range(0, rows, size):
            part = slice(first, first + size)
            logits = (queries[part] / temperature) @ items.T  # [chunk, C]
            index = torch.arange(len(logits), device=logits.device)
            top = logits.amax(dim=1, keepdim=True)
            positive = logits[index, target[part]]
            probability = logits.sub_(top).exp_()
            total = probability.sum(dim=1, keepdim=True)
            row_loss = total.squeeze(1).log() + top.squeeze(1) - positive
            loss += (row_loss * share[part]).sum()
            probability /= total
            probability[index, target[part]] -= 1
            probability *= (share[part] / temperature).unsqueeze(1)
            grad_queries[part] = probability @ items
            grad_items.addmm_(probability.T, queries[part])
        ctx.save_for_backward(grad_queries, grad_items)
        return loss

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor | None, ...]:
        grad_queries, grad_items = ctx.saved_tensors
        return grad_queries * grad[0], grad_items * grad[0], None, None, None


def sampled_softmax(
    positive: Tensor, negative: Tensor, *, excluded: Tensor, weight: Tensor | None = None
) -> Tensor:
    """Softmax cross-entropy of the positive [Q] against its negatives [Q, N].

    With the negatives' scores corrected by logQ (see ``corrected``) it tends to ``full_softmax``
    as their number grows. A deviation from Yi 2019, section 4, which corrects the positive too:
    the positive is not drawn, it is there for sure and its repeats are excluded, so correcting it
    would take its own share out of the sum (Khrylchenko 2025, arXiv 2507.09331, makes the point).
    """
    negative = negative.masked_fill(excluded, -torch.inf)
    logits = torch.cat([positive.unsqueeze(1), negative], dim=1)  # [Q, 1 + N]
    return weighted_mean(torch.logsumexp(logits, dim=1) - positive, weight)


def corrected(scores: Tensor, expected_count: Tensor) -> Tensor:
    """logQ: score - log(expected count of the candidate among the candidates)."""
    return scores - expected_count.log()


def bpr(
    positive: Tensor, negative: Tensor, *, excluded: Tensor, weight: Tensor | None = None
) -> Tensor:
    """-log sigmoid(positive - negative), the mean over a row's negatives (Rendle 2009)."""
    losses = softplus(negative - positive.unsqueeze(1)).masked_fill(excluded, 0.0)
    count = (~excluded).sum(dim=1)
    return weighted_mean(losses.sum(dim=1) / count.clamp(min=1), weight)


def bce(
    positive: Tensor, negative: Tensor, *, excluded: Tensor, weight: Tensor | None = None
) -> Tensor:
    """Binary cross-entropy where the positive and each negative is one (user, item) row.

    A query's rows are averaged: (-log s(p) - sum log(1 - s(n))) / (1 + its negatives).
    """
    negatives = softplus(negative).masked_fill(excluded, 0.0).sum(dim=1)
    count = (~excluded).sum(dim=1)
    return weighted_mean((softplus(-positive) + negatives) / (1 + count), weight)


def labelled_bce(scores: Tensor, label: Tensor) -> Tensor:
    """Mean binary cross-entropy of scores [Q] against labels in 0..1, float [Q]."""
    return torch.nn.functional.binary_cross_entropy_with_logits(scores, label)


PAIR_LOSSES = {"softmax": sampled_softmax, "bpr": bpr, "bce": bce}
"""Losses of a positive against negatives, by the name in the config."""
