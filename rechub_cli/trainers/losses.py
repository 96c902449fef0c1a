"""Losses over scores; they know nothing of models.

Q queries, C candidates, N negatives, D width. Scores are already divided by temperature.
``excluded`` bool [Q, N] marks negatives that do not count (accidental hits); ``weight`` float [Q]
multiplies a row's loss. Every loss is the weighted mean over rows.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from rechub_cli.errors import ConfigError

CHUNK_ROWS, CHUNK_BYTES = 512, 64 << 20
"""The full softmax has at most so many rows, and about so many bytes of scores, at once."""
ROW_STEP = 64


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
    excluded: Excluded | None = None,
    weight: Tensor | None = None,
) -> Tensor:
    """Exact softmax cross-entropy over all items, in chunks of rows.

    queries: [Q, D], or [Q, K, D]: then each item is scored by the best of the row's K.
    items: [C, D]. target: the positive's row in ``items``, int64 [Q]. excluded: which items are no
    candidates of a row; None: all are.
    The gradient is made in the forward pass, so memory does not grow with Q x C.
    """
    loss: Tensor = _ChunkedSoftmax.apply(  # type: ignore[no-untyped-call]
        queries, items, target, temperature, excluded, weight
    )
    return loss


def _pad_rows(tensor: Tensor, extra: int) -> Tensor:
    """``extra`` rows of zeros behind [Q, ...]."""
    return torch.cat([tensor, tensor.new_zeros(extra, *tensor.shape[1:])]) if extra else tensor


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


def sampled_softmax(
    positive: Tensor, negative: Tensor, *, excluded: Tensor, weight: Tensor | None = None
) -> Tensor:
    """Softmax cross-entropy of the positive [Q] against its negatives [Q, N]."""
    negative = negative.masked_fill(excluded, -torch.inf)
    logits = torch.cat([positive.unsqueeze(1), negative], dim=1)  # [Q, 1 + N]
    return weighted_mean(torch.logsumexp(logits, dim=1) - positive, weight)


def weighted_softmax(
    positive: Tensor, negative: Tensor, *, excluded: Tensor, weight: Tensor | None = None
) -> Tensor:
    """stop-gradient(1 - P) * (log sum exp(negatives) - positive), P the positive's probability.

    Khrylchenko 2025, arXiv 2507.09331, section 3.3, for scores of ``logq_scores(form="weighted")``.
    Only its gradient means something: it is that of ``sampled_softmax`` on the same scores, as P is
    estimated from them; the value is no cross-entropy, and approaches 0 from below as P nears 1.
    """
    rest = torch.logsumexp(negative.masked_fill(excluded, -torch.inf), dim=1)
    surplus = (rest - positive).masked_fill(excluded.all(dim=1), 0.0)
    return weighted_mean(surplus.sigmoid().detach() * surplus, weight)


def logq_scores(
    positive: Tensor,
    negative: Tensor,
    *,
    excluded: Tensor,
    form: str,
    positive_count: Tensor,
    negative_count: Tensor,
) -> tuple[Tensor, Tensor]:
    """Scores made up for how often the sampler offers each item.

    positive_count: how often each positive is expected among its N candidates, float [Q].
    negative_count: the same of the candidates, float [N] or [Q, N].
    form: negatives: theirs only; the positive is not drawn but there for sure, and its repeats are
        excluded. both: the positive's too (Yi 2019, eq. 3; tf.nn.sampled_softmax_loss).
        weighted: theirs only, by counts that add up to the negatives left after exclusion, Q'_c =
        Q_c / (1 - Q_positive) (Khrylchenko 2025, section 3.3; for ``weighted_softmax``).
    """
    if form == "both":
        return corrected(positive, positive_count), corrected(negative, negative_count)
    if form == "weighted":
        left = (~excluded).sum(dim=1, keepdim=True)
        others = negative.shape[1] - positive_count.unsqueeze(1)  # draws expected to be others
        negative_count = negative_count * left.clamp(min=1) / others  # [Q, N]
    return positive, corrected(negative, negative_count)


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


def bpr_max(
    positive: Tensor,
    negative: Tensor,
    *,
    excluded: Tensor,
    weight: Tensor | None = None,
    bpreg: float,
) -> Tensor:
    """-log sum_j w_j sigmoid(positive - negative_j) + bpreg sum_j w_j negative_j^2.

    w: softmax over the row's negatives alone, gradient included (Hidasi 2018, eq. 11; the
    authors' gru4rec_pytorch.py). No ELU on the scores, which the authors offer too.
    """
    alone = excluded.all(dim=1, keepdim=True)
    masked = negative.masked_fill(excluded & ~alone, -torch.inf)
    log_weights = torch.log_softmax(masked, dim=1)
    log_likelihood = torch.logsumexp(
        log_weights + logsigmoid(positive.unsqueeze(1) - negative), dim=1
    )
    penalty = (log_weights.exp() * negative.square()).sum(dim=1)
    rows = (bpreg * penalty - log_likelihood).masked_fill(alone.squeeze(1), 0.0)
    return weighted_mean(rows, weight)


def bce(
    positive: Tensor,
    negative: Tensor,
    *,
    excluded: Tensor,
    weight: Tensor | None = None,
    beta: float = 1.0,
) -> Tensor:
    """Binary cross-entropy where the positive and each negative is one (user, item) row.

    A query's rows are averaged: (-beta log s(p) - sum log(1 - s(n))) / (1 + its negatives).
    beta: 1, or that of ``gbce_beta``.
    """
    negatives = softplus(negative).masked_fill(excluded, 0.0).sum(dim=1)
    count = (~excluded).sum(dim=1)
    return weighted_mean((beta * softplus(-positive) + negatives) / (1 + count), weight)


def gbce_beta(t: float, *, num_negatives: int, num_items: int) -> float:
    """The power of the positive's sigmoid in gBCE (Petrov 2023, gSASRec, eq. 22).

    t: 0 leaves BCE, 1 makes up in full for the sampling. num_negatives: drawn uniformly a positive.
    num_items: of the catalogue. Raises ConfigError where more are drawn than there are others.
    """
    alpha = num_negatives / max(num_items - 1, 1)
    if alpha > 1:
        raise ConfigError(
            f"loss=gbce with num_negatives={num_negatives} over {num_items} items: allowed are at "
            "most all the others; draw fewer, or use loss=bce"
        )
    return 1 - t * (1 - alpha)  # = alpha (t (1 - 1 / alpha) + 1 / alpha)


def labelled_bce(scores: Tensor, label: Tensor) -> Tensor:
    """Mean binary cross-entropy of scores [Q] against labels in 0..1, float [Q]."""
    return torch.nn.functional.binary_cross_entropy_with_logits(scores, label)


class PairLoss(Protocol):
    """A loss of positives [Q] against negatives [Q, N]."""

    def __call__(
        self, positive: Tensor, negative: Tensor, *, excluded: Tensor, weight: Tensor | None = None
    ) -> Tensor: ...


PAIR_LOSSES: dict[str, PairLoss] = {"softmax": sampled_softmax, "bpr": bpr, "bce": bce}
"""The losses that need nothing more, by the name in the config."""
