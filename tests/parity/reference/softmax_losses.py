"""Softmax cross-entropy over the catalogue, in-batch, sampled and mixed candidates.

Sources:
- full softmax: Covington 2016 section 3.1; Klenitskiy and Vasilev 2023 (arXiv 2309.07602).
- logQ: Bengio and Senecal 2008 eq. 6; Yi 2019 (RecSys) eq. 3: the correction is subtracted from
  every logit, the positive's too. TensorFlow's sampled_softmax_loss does the same with expected
  counts. The authors of arXiv 2507.09331 leave the positive uncorrected in their "old" baseline.
- mixed negatives: Yang 2020 (WWW companion), candidates = batch positives + extra draws.
- newer form: Khrylchenko 2025 (arXiv 2507.09331) section 3.3; authors' repository
  NonameUntitled/logq, train_in_batch_logq_new.py: Q'_c = Q_c / (1 - Q_positive); the weight
  1 - P is estimated from the same negatives, with the mean (not the sum) over them.

score(q, v) = q . v / temperature. Correction: logit_c = score_c - log(expected count of c).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.parity.reference.common import (
    Array,
    checked_gradient,
    gradient,
    log_sum_exp,
    plain_numbers,
)

TEMPERATURE = 0.5
POSITIVES = [1, 3, 1, 4]
COUNTS = np.array([5.0, 40.0, 10.0, 25.0, 15.0, 5.0])
IN_BATCH_P = COUNTS / COUNTS.sum()
NEGATIVES = [3, 0, 5, 1, 0]
NEGATIVE_Q = np.array([0.3, 0.1, 0.1, 0.2, 0.1, 0.2])
CONVENTIONS = [
    "score(q, v) = q . v / temperature; no normalisation",
    "loss = mean of row_losses over the Q rows; grad_* are gradients of that mean",
    "grad_table sums over every candidate column that used the table row",
    "logit_c = score_c - log(expected count of c among the candidates)",
    "an accidental hit (a candidate equal to the row's positive, other than the positive "
    "itself) is removed from the softmax; other duplicates stay as separate columns",
    "in_batch: candidates are the batch's own positives, expected count B p_c, "
    "p = counts / sum(counts); constants such as log B cancel",
    "sampled_yi: positive corrected by log(k q_positive) too; "
    "sampled_positive_uncorrected: only the negatives are",
    "mixed: batch positives and the k shared negatives, all with log(B p_c + k q_c)",
    "new_logq_*: row loss = stop_gradient(1 - P) (-s+ + log sum_c exp(s_c - log Q'_c)), "
    "Q'_c = Q_c / (1 - Q_positive), sum over kept negatives; P = exp(s+) / (exp(s+) + "
    "mean_c exp(s_c - log Q'_c)); the positive is never corrected",
    "*_with_expected_count: the same with log(n Q'_c), n = negatives kept; same gradient",
]


def full_rows(queries: Array, table: Array) -> list:
    """-log softmax(score over every row of the table)[positive], one number a query."""
    rows = []
    for query, positive in zip(queries, POSITIVES, strict=True):
        scores = table @ query / TEMPERATURE
        rows.append(log_sum_exp(scores) - scores[positive])
    return rows


def candidate_rows(
    queries: Array, table: Array, *, columns: list[list[int]], counts: list[list[float]]
) -> list:
    """Softmax over listed candidates; column 0 of each row is its positive.

    Every later column that holds the row's positive again is an accidental hit and left out.
    """
    rows = []
    for query, items, expected in zip(queries, columns, counts, strict=True):
        logits = np.array(
            [
                table[item] @ query / TEMPERATURE - np.log(count)
                for column, (item, count) in enumerate(zip(items, expected, strict=True))
                if column == 0 or item != items[0]
            ]
        )
        rows.append(log_sum_exp(logits) - logits[0])
    return rows


def in_batch_rows(queries: Array, table: Array, *, corrected: bool = True) -> list:
    """Candidates of a row: the positives of all B rows; expected count B p_c."""
    columns = [[own, *POSITIVES[:i], *POSITIVES[i + 1 :]] for i, own in enumerate(POSITIVES)]
    size = len(POSITIVES)
    counts = [[size * IN_BATCH_P[c] if corrected else 1.0 for c in row] for row in columns]
    return candidate_rows(queries, table, columns=columns, counts=counts)


def sampled_rows(queries: Array, table: Array, *, correct_positive: bool) -> list:
    """Candidates of a row: its positive and k negatives shared by the batch; count k q_c."""
    columns = [[own, *NEGATIVES] for own in POSITIVES]
    size = len(NEGATIVES)
    counts = [[size * NEGATIVE_Q[c] for c in row] for row in columns]
    if not correct_positive:
        counts = [[1.0, *row[1:]] for row in counts]
    return candidate_rows(queries, table, columns=columns, counts=counts)


def mixed_rows(queries: Array, table: Array) -> list:
    """Candidates of a row: B batch positives and k shared draws; count B p_c + k q_c."""
    batch, extra = len(POSITIVES), len(NEGATIVES)
    columns = [
        [own, *POSITIVES[:i], *POSITIVES[i + 1 :], *NEGATIVES] for i, own in enumerate(POSITIVES)
    ]
    counts = [[batch * IN_BATCH_P[c] + extra * NEGATIVE_Q[c] for c in row] for row in columns]
    return candidate_rows(queries, table, columns=columns, counts=counts)


def new_logq_terms(queries: Array, table: Array, *, columns: list[list[int]], q: Array) -> list:
    """(weight, -s+ + log sum exp(s_c - log Q'_c), number of negatives kept) of each row."""
    terms = []
    for query, items in zip(queries, columns, strict=True):
        own = items[0]
        negatives = [c for c in items[1:] if c != own]
        score = table[own] @ query / TEMPERATURE
        logits = np.array(
            [table[c] @ query / TEMPERATURE - np.log(q[c] / (1 - q[own])) for c in negatives]
        )
        rest = log_sum_exp(logits)
        estimate = rest.real - np.log(len(negatives))
        weight = 1 - 1 / (1 + np.exp(estimate - score.real))
        terms.append((weight, rest - score, len(negatives)))
    return terms


def new_logq_sampled(queries: Array, table: Array) -> list:
    """Newer form, shared negatives drawn from q."""
    columns = [[own, *NEGATIVES] for own in POSITIVES]
    return new_logq_terms(queries, table, columns=columns, q=NEGATIVE_Q)


def new_logq_in_batch(queries: Array, table: Array) -> list:
    """Newer form, negatives = the other rows' positives (duplicates kept), Q = p."""
    columns = [[own, *POSITIVES[:i], *POSITIVES[i + 1 :]] for i, own in enumerate(POSITIVES)]
    return new_logq_terms(queries, table, columns=columns, q=IN_BATCH_P)


def plain_case(rows: Callable[..., list], queries: Array, table: Array, **options: bool) -> dict:
    """Row losses, their mean, and the mean's gradients."""
    losses = rows(queries, table, **options)
    return {
        "row_losses": np.real(losses),
        "loss": np.mean(np.real(losses)),
        "grad_queries": checked_gradient(lambda x: np.mean(rows(x, table, **options)), queries),
        "grad_table": checked_gradient(lambda x: np.mean(rows(queries, x, **options)), table),
    }


def weighted_case(terms: Callable[..., list], queries: Array, table: Array) -> dict:
    """The same for the newer form; its weight is a constant of the gradient."""
    found = terms(queries, table)
    weights = np.array([weight for weight, _, _ in found])
    parts = np.array([np.real(part) for _, part, _ in found])
    kept = np.array([number for _, _, number in found])

    def mean(q: Array, t: Array) -> complex:
        return np.mean([w * part for w, (_, part, _) in zip(weights, terms(q, t), strict=True)])

    return {
        "weights": weights,
        "negatives_kept": kept,
        "row_losses": weights * parts,
        "loss": np.mean(weights * parts),
        "row_losses_with_expected_count": weights * (parts - np.log(kept)),
        "loss_with_expected_count": np.mean(weights * (parts - np.log(kept))),
        "grad_queries": checked_gradient(lambda x: mean(x, table), queries),
        "grad_table": checked_gradient(lambda x: mean(queries, x), table),
    }


def check_limits(queries: Array, table: Array) -> None:
    """With every other item drawn once, sampled losses have the full softmax's gradient."""
    everything = [[own, *(c for c in range(len(table)) if c != own)] for own in POSITIVES]
    ones = [[1.0] * len(row) for row in everything]
    full = np.real(full_rows(queries, table))
    listed = candidate_rows(queries, table, columns=everything, counts=ones)
    np.testing.assert_allclose(np.real(listed), full, rtol=1e-12)
    uniform = np.full(len(table), 1 / len(table))
    weights = [w for w, _, _ in new_logq_terms(queries, table, columns=everything, q=uniform)]

    def newer(x: Array) -> complex:
        found = new_logq_terms(x, table, columns=everything, q=uniform)
        return np.mean([w * part for w, (_, part, _) in zip(weights, found, strict=True)])

    expected = gradient(lambda x: np.mean(full_rows(x, table)), queries)
    np.testing.assert_allclose(gradient(newer, queries), expected, rtol=1e-12)
    np.testing.assert_allclose(1 - np.exp(-full), weights, rtol=1e-12)


def check_full_gradient(queries: Array, table: Array, case: dict) -> None:
    """The textbook gradient (softmax - one hot) / (Q T), written out, equals the stored one."""
    grad_queries, grad_table = np.zeros_like(queries), np.zeros_like(table)
    for row, (query, positive) in enumerate(zip(queries, POSITIVES, strict=True)):
        share = np.exp(table @ query / TEMPERATURE)
        share = share / share.sum()
        share[positive] -= 1
        grad_queries[row] = share @ table / TEMPERATURE / len(queries)
        grad_table += np.outer(share, query) / TEMPERATURE / len(queries)
    np.testing.assert_allclose(case["grad_queries"], grad_queries, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(case["grad_table"], grad_table, rtol=1e-12, atol=1e-15)


def values() -> dict:
    """Inputs and expected numbers of all softmax losses."""
    queries, table = plain_numbers(4, 3, seed=1), plain_numbers(6, 3, seed=2)
    check_limits(queries, table)
    full = plain_case(full_rows, queries, table)
    check_full_gradient(queries, table, full)
    return {
        "source": "Yi 2019 eq. 3; Yang 2020; Khrylchenko 2025 (arXiv 2507.09331) section 3.3 and "
        "NonameUntitled/logq; Covington 2016",
        "conventions": CONVENTIONS,
        "inputs": {
            "queries": queries,
            "table": table,
            "positives": POSITIVES,
            "negatives": NEGATIVES,
            "temperature": TEMPERATURE,
            "item_counts": COUNTS,
            "in_batch_probability": IN_BATCH_P,
            "negative_probability": NEGATIVE_Q,
        },
        "expected": {
            "full_softmax": full,
            "in_batch_logq": plain_case(in_batch_rows, queries, table),
            "in_batch_uncorrected": plain_case(in_batch_rows, queries, table, corrected=False),
            "sampled_yi": plain_case(sampled_rows, queries, table, correct_positive=True),
            "sampled_positive_uncorrected": plain_case(
                sampled_rows, queries, table, correct_positive=False
            ),
            "mixed": plain_case(mixed_rows, queries, table),
            "new_logq_sampled": weighted_case(new_logq_sampled, queries, table),
            "new_logq_in_batch": weighted_case(new_logq_in_batch, queries, table),
        },
    }
