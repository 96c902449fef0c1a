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

CHUNK_ROWS = 512
"""Rows of the full softmax that are in memory at once."""


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
        for first in range(0, rows, CHUNK_ROWS):
            part = slice(first, first + CHUNK_ROWS)
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

    With scores corrected by logQ (see ``corrected``) this is Yi 2019, section 4, for in-batch
    candidates, and the consistent ranking objective of Ma and Collins 2018 for drawn ones.
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
