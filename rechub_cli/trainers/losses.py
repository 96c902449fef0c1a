"""Losses over scores; they know nothing of models.

Q queries, C candidates, N negatives, D width. Scores are already divided by temperature.
``excluded`` bool [Q, N] marks negatives that do not count (accidental hits); ``weight`` float [Q]
multiplies a row's loss. Every loss is the weighted mean over rows.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from rechub_cli.errors import ConfigError


def weighted_mean(rows: Tensor, weight: Tensor | None) -> Tensor:
    """Mean of per-row losses [Q], weighted where a weight is given."""
    if weight is None:
        return rows.mean()
    return (rows * weight).sum() / weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)


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
    least = torch.finfo(expected_count.dtype).tiny  # the log of a share that is no number is none
    return scores - expected_count.clamp(min=least).log()


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
