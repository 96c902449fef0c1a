"""BCE, gBCE, BPR and BPR-max on one positive and k negatives a row.

Sources:
- BCE: Kang 2018 eq. 7 (k = 1 there).
- gBCE: Petrov 2023 (gSASRec) eqs. 20-22; asash/gSASRec-pytorch gbce.py. alpha = k / (|I| - 1),
  beta = alpha (t (1 - 1/alpha) + 1/alpha), the positive's sigmoid raised to beta.
- BPR: Rendle 2009, mean over the negatives (Hidasi 2016 section 3.3.1).
- BPR-max: Hidasi 2018 eq. 11; hidasib/GRU4Rec_PyTorch_Official gru4rec_pytorch.py: the softmax runs
  over the negatives only and carries gradient; the regulariser is bpreg sum_j w_j s_j^2.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.parity.reference.common import (
    Array,
    checked_gradient,
    plain_numbers,
    sigmoid,
    softmax,
)

BPREG = 0.7
CATALOGUE = 11
GBCE_T = 0.75


def positive_terms(positive: Array) -> Array:
    """-log sigmoid(s+)."""
    return -np.log(sigmoid(positive))


def negative_terms(negatives: Array) -> Array:
    """-log(1 - sigmoid(s-)) = -log sigmoid(-s-)."""
    return -np.log(sigmoid(-negatives))


def bce_rows(positive: Array, negatives: Array) -> Array:
    """(-log sigmoid(s+) - sum_j log(1 - sigmoid(s_j))) / (k + 1)."""
    return gbce_rows(positive, negatives, beta=1.0)


def gbce_beta(*, negatives: int, catalogue: int, t: float) -> float:
    """Petrov 2023: beta from the sampling rate alpha and the calibration t in [0, 1]."""
    alpha = negatives / (catalogue - 1)
    return alpha * (t * (1 - 1 / alpha) + 1 / alpha)


def gbce_rows(positive: Array, negatives: Array, *, beta: float) -> Array:
    """(-beta log sigmoid(s+) - sum_j log(1 - sigmoid(s_j))) / (k + 1)."""
    width = negatives.shape[1] + 1
    return (beta * positive_terms(positive) + negative_terms(negatives).sum(axis=1)) / width


def bpr_rows(positive: Array, negatives: Array) -> Array:
    """mean over j of -log sigmoid(s+ - s_j)."""
    return -np.log(sigmoid(positive[:, None] - negatives)).mean(axis=1)


def bpr_max_rows(positive: Array, negatives: Array, *, bpreg: float) -> Array:
    """-log sum_j w_j sigmoid(s+ - s_j) + bpreg sum_j w_j s_j^2, w = softmax(negatives)."""
    rows = []
    for own, others in zip(positive, negatives, strict=True):
        weights = softmax(others)
        likelihood = np.sum(weights * sigmoid(own - others))
        rows.append(-np.log(likelihood) + bpreg * np.sum(weights * others**2))
    return np.array(rows)


def case(rows: Callable[..., Array], positive: Array, negatives: Array, **options: float) -> dict:
    """Row losses, their mean and the mean's gradients with respect to the scores."""
    losses = rows(positive, negatives, **options)
    return {
        "row_losses": losses,
        "loss": losses.mean(),
        "grad_positive": checked_gradient(lambda x: rows(x, negatives, **options).mean(), positive),
        "grad_negatives": checked_gradient(
            lambda x: rows(positive, x, **options).mean(), negatives
        ),
    }


def check_limits(positive: Array, negatives: Array) -> None:
    """t = 0 makes gBCE plain BCE, t = 1 beta = alpha; one negative makes BPR-max plain BPR."""
    rate = negatives.shape[1] / (CATALOGUE - 1)
    zero = gbce_beta(negatives=negatives.shape[1], catalogue=CATALOGUE, t=0.0)
    one = gbce_beta(negatives=negatives.shape[1], catalogue=CATALOGUE, t=1.0)
    np.testing.assert_allclose([zero, one], [1.0, rate], rtol=1e-12)
    single = negatives[:, :1]
    np.testing.assert_allclose(
        bpr_max_rows(positive, single, bpreg=0.0), bpr_rows(positive, single), rtol=1e-12
    )


def values() -> dict:
    """Inputs and expected numbers of the pointwise and pairwise losses."""
    positive, negatives = (
        plain_numbers(3, seed=3, scale=3.0),
        plain_numbers(3, 4, seed=4, scale=3.0),
    )
    check_limits(positive, negatives)
    beta = gbce_beta(negatives=4, catalogue=CATALOGUE, t=GBCE_T)
    return {
        "source": "Kang 2018 eq. 7; Petrov 2023 and asash/gSASRec-pytorch gbce.py; Rendle 2009; "
        "Hidasi 2018 and hidasib/GRU4Rec_PyTorch_Official gru4rec_pytorch.py",
        "conventions": [
            "inputs are scores (logits) after any temperature: positive [B], negatives [B, k]",
            "loss = mean over rows of row_losses; grad_* are gradients of that mean",
            "bce and gbce divide each row by k + 1 (a mean over all scores); the raw terms are "
            "given too, so that a sum or another weighting can be compared",
            "gbce: alpha = k / (catalogue_size - 1), beta = alpha (t (1 - 1/alpha) + 1/alpha)",
            "bpr: mean over the k negatives of -log sigmoid(s+ - s-)",
            "bpr_max: softmax weights over the negatives only, gradient flows through them; "
            "no ELU on the scores; no epsilon inside the logarithm",
        ],
        "inputs": {
            "positive": positive,
            "negatives": negatives,
            "catalogue_size": CATALOGUE,
            "gbce_t": GBCE_T,
            "bpreg": BPREG,
        },
        "expected": {
            "positive_terms": positive_terms(positive),
            "negative_terms": negative_terms(negatives),
            "bce": case(bce_rows, positive, negatives),
            "gbce_beta": beta,
            "gbce": case(gbce_rows, positive, negatives, beta=beta),
            "bpr": case(bpr_rows, positive, negatives),
            "bpr_max": case(bpr_max_rows, positive, negatives, bpreg=BPREG),
            "bpr_max_without_bpreg": case(bpr_max_rows, positive, negatives, bpreg=0.0),
        },
    }
