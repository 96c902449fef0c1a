"""MIND's behaviour-to-interest dynamic routing and label-aware attention.

Sources: Li 2019 (MIND) section 4.3 and algorithm 1, section 4.4; Sabour 2017 for squash and for the
softmax over the *higher* capsules; THUDM/ComiRec src/model.py class CapsuleNetwork
(bilinear_type 0: softmax over interests, gradient through the third iteration only).
Deviations: the initial logits are a fixed table indexed [interest, position from the end]; an
optional weight exp(recency[position from the end]) multiplies each behaviour's contribution.
A second form ("cosine") takes scale * cos(u_j, S e_i) for the agreement u_j . S e_i.
"""

from __future__ import annotations

import math

import numpy as np

from tests.parity.reference.common import (
    Array,
    checked_gradient,
    cosines,
    finite_differences,
    gradient,
    layer,
    mlp,
    plain_numbers,
    softmax,
    squash,
)

INTERESTS, DIM, WINDOW, ITERATIONS = 4, 3, 16, 3
LENGTHS = [0, 1, 2, 5, 8, 9, 16]
HISTORY = [3, 1, 4, 1, 5, 6, 2, 6, 5, 3, 7, 2, 1, 7, 4, 6]
TARGET, POWERS = 2, [1.0, 2.0]
SCALE = 3.5
COSINE = (
    "cosine (with recency): as with_recency but b_ij += scale * cos(u_j, S e_i), 0 for a zero "
    "vector; grad_item_table, grad_S, grad_recency as above (last weights held constant); "
    "grad_scale: the cosines of both earlier iterations held constant, last b = first_logits + "
    "scale * (cosines of iteration 1 + cosines of iteration 2), w = the masked softmax, vectors "
    "constant; source: this project's form; routing as in Li 2019 / Cen 2020 with cosine agreement "
    "(Sabour 2017 routing by agreement) and a learned scale"
)


def used_interests(length: int) -> int:
    """clamp(floor(log2 length), 1, K); 1 for an empty history."""
    return max(1, min(INTERESTS, math.floor(math.log2(max(length, 1)))))


def routing_weights(logits: Array, used: int) -> Array:
    """Softmax over interests for each behaviour, unused interests at -inf; [K, n]."""
    masked = logits.copy()
    masked[used:] = -np.inf
    return np.array([softmax(column) for column in masked.T]).T


def capsules(weights: Array, behaviours: Array) -> Array:
    """squash(sum_i w_ij x_i) of every interest, [K, D]."""
    return np.array([squash(np.sum(row[:, None] * behaviours, axis=0)) for row in weights])


def route(
    embedded: Array, bilinear: Array, first: Array, recency: Array, *, frozen: Array | None = None
) -> tuple[Array, Array]:
    """(interests [K, D], routing weights of the last iteration [K, n]) of one history.

    `frozen` gives the last iteration's weights: what stopping the gradient amounts to.
    """
    length = len(embedded)
    if length == 0:
        return np.zeros((INTERESTS, DIM)), np.zeros((INTERESTS, 0))
    used = used_interests(length)
    from_end = [length - 1 - i for i in range(length)]
    mapped = np.array([bilinear @ e for e in embedded])
    weighted = mapped * np.exp(recency[from_end])[:, None]
    logits = first[:, from_end].astype(mapped.dtype)
    for iteration in range(ITERATIONS):
        weights = routing_weights(logits, used)
        if iteration == ITERATIONS - 1:
            break
        logits = logits + capsules(weights, weighted) @ mapped.T
    if frozen is not None:
        weights = frozen
    found = capsules(weights, weighted)
    found[used:] = found[0]
    return found, weights


def cosine_sum(
    mapped: Array, weighted: Array, first: Array, used: int, scale: float | Array
) -> Array:
    """cos(u_j, S e_i) summed over the iterations before the last, [K, n]."""
    total = np.zeros(first.shape)
    for _ in range(ITERATIONS - 1):
        weights = routing_weights(first + scale * total, used)
        total = total + cosines(capsules(weights, weighted), mapped)
    return total


def cosine_route(
    embedded: Array,
    bilinear: Array,
    first: Array,
    recency: Array,
    scale: float | Array,
    *,
    frozen: Array | None = None,
    held: Array | None = None,
) -> tuple[Array, Array, Array]:
    """`route` with agreement by cosine; gives the sum of the cosines [K, n] as a third part.

    `frozen` gives the last iteration's weights, `held` the sum of the cosines before it.
    """
    length = len(embedded)
    if length == 0:
        return np.zeros((INTERESTS, DIM)), np.zeros((INTERESTS, 0)), np.zeros((INTERESTS, 0))
    used = used_interests(length)
    from_end = [length - 1 - i for i in range(length)]
    mapped = np.array([bilinear @ e for e in embedded])
    weighted = mapped * np.exp(recency[from_end])[:, None]
    start = first[:, from_end]
    total = cosine_sum(mapped, weighted, start, used, scale) if held is None else held
    weights = routing_weights(start + scale * total, used) if frozen is None else frozen
    found = capsules(weights, weighted)
    found[used:] = found[0]
    return found, weights, total


def label_aware(interests: Array, target: Array, used: int, power: float) -> Array:
    """softmax(power * V e) mixed over the used interests; power = inf takes the best one."""
    logits = interests[:used] @ target
    if math.isinf(power):
        return interests[int(np.argmax(logits))]
    return softmax(power * logits) @ interests[:used]


def parameters() -> dict:
    """Item table (row 0 padding), bilinear map, fixed first logits, recency, user table and MLP."""
    return {
        "item_table": plain_numbers(8, DIM, seed=51, scale=2.0),
        "S": plain_numbers(DIM, DIM, seed=52),
        "first_logits": plain_numbers(INTERESTS, WINDOW, seed=53, scale=1.5),
        "recency": plain_numbers(WINDOW, seed=54),
        "user_table": plain_numbers(2, 2, seed=55),
        "user_mlp": [
            layer(4, DIM + 2, seed=56),
            layer(DIM, 4, seed=58),
        ],
    }


def check_routing(given: dict) -> None:
    """A single interest is squash(sum S e); the cut gradient differs from the whole one."""
    embedded, first = given["item_table"][HISTORY[:3]], given["first_logits"]
    found, _ = route(embedded, given["S"], first, np.zeros(WINDOW))
    alone = squash(np.sum(embedded @ given["S"].T, axis=0))
    np.testing.assert_allclose(found, np.array([alone] * INTERESTS), rtol=1e-12)

    longer = given["item_table"][HISTORY[:9]]
    _, frozen = route(longer, given["S"], first, given["recency"])

    def total(s: Array, cut: Array | None) -> complex:
        return np.sum(route(longer, s, first, given["recency"], frozen=cut)[0])

    whole = gradient(lambda s: total(s, None), given["S"])
    np.testing.assert_allclose(
        whole, finite_differences(lambda s: total(s, None), given["S"]), rtol=1e-6
    )
    if np.allclose(whole, gradient(lambda s: total(s, frozen), given["S"]), rtol=1e-3):
        raise AssertionError("this input cannot tell the cut gradient from the whole one")


def check_cosine(given: dict) -> None:
    """Lengths of vectors do not matter to the weights; each cut differs from the whole gradient."""
    embedded, s = given["item_table"][HISTORY[:9]], given["S"]
    first, recency = given["first_logits"], given["recency"]
    _, weights, total = cosine_route(embedded, s, first, recency, SCALE)
    longer = cosine_route(embedded * 1.7, s * 3, first, recency + 0.4, SCALE)[1]
    np.testing.assert_allclose(longer, weights, rtol=1e-12)
    if np.max(np.abs(total[: used_interests(9)])) > ITERATIONS - 1 or np.any(total[3:]):
        raise AssertionError("a cosine is at most 1, and 0 for the zero vector of an unused one")

    def of_map(x: Array, cut: Array | None) -> complex:
        return np.sum(cosine_route(embedded, x, first, recency, SCALE, frozen=cut)[0])

    def of_scale(x: Array, cut: Array | None) -> complex:
        return np.sum(cosine_route(embedded, s, first, recency, x, held=cut)[0])

    for total_of, cut, x in ((of_map, weights, s), (of_scale, total, np.array(SCALE))):
        whole = checked_gradient(lambda x, f=total_of: f(x, None), x)
        partial = checked_gradient(lambda x, f=total_of, cut=cut: f(x, cut), x)
        if np.allclose(whole, partial, rtol=1e-3):
            raise AssertionError("this input cannot tell the cut gradient from the whole one")


def case(length: int, given: dict, *, recency: Array) -> dict:
    """Everything expected of the history's first `length` items."""
    items = HISTORY[:length]
    embedded, first = given["item_table"][items], given["first_logits"]
    interests, weights = route(embedded, given["S"], first, recency)
    used, target = used_interests(length), given["item_table"][TARGET]
    side = [np.concatenate([v, given["user_table"][length % 2]]) for v in interests]
    probe = plain_numbers(INTERESTS, DIM, seed=60)

    def probed(table: Array, s: Array, r: Array) -> complex:
        return np.sum(probe * route(table[items], s, first, r, frozen=weights)[0])

    table = given["item_table"]
    return {
        "history_length": length,
        "user": length % 2,
        "used_interests": used,
        "routing_weights": weights,
        "interests": interests,
        "label_aware": {str(p): label_aware(interests, target, used, p) for p in POWERS},
        "label_aware_inf": label_aware(interests, target, used, math.inf),
        "best_score": np.max(interests[:used] @ target),
        "mlp_last_layer_linear": [mlp(x, given["user_mlp"]) for x in side],
        "mlp_last_layer_relu": [mlp(x, given["user_mlp"], last_relu=True) for x in side],
        "grad_item_table": checked_gradient(lambda x: probed(x, given["S"], recency), table),
        "grad_S": checked_gradient(lambda x: probed(table, x, recency), given["S"]),
        "grad_recency": checked_gradient(lambda x: probed(table, given["S"], x), recency),
    }


def cosine_case(length: int, given: dict) -> dict:
    """Agreement by cosine on the history's first `length` items, with recency."""
    items, probe = HISTORY[:length], plain_numbers(INTERESTS, DIM, seed=60)
    table, s, recency = given["item_table"], given["S"], given["recency"]
    first = given["first_logits"]
    interests, weights, total = cosine_route(table[items], s, first, recency, SCALE)

    def probed(table: Array, s: Array, r: Array) -> complex:
        return np.sum(probe * cosine_route(table[items], s, first, r, SCALE, frozen=weights)[0])

    def scaled(c: Array) -> complex:
        return np.sum(probe * cosine_route(table[items], s, first, recency, c, held=total)[0])

    return {
        "history_length": length,
        "interests": interests,
        "routing_weights": weights,
        "grad_item_table": checked_gradient(lambda x: probed(x, s, recency), table),
        "grad_S": checked_gradient(lambda x: probed(table, x, recency), s),
        "grad_recency": checked_gradient(lambda x: probed(table, s, x), recency),
        "grad_scale": float(checked_gradient(scaled, np.array(SCALE))),
    }


def values() -> dict:
    """Cases with and without the recency weight, and with agreement by cosine."""
    given = parameters()
    check_routing(given)
    check_cosine(given)
    flat = np.zeros(WINDOW)
    return {
        "source": "Li 2019 sections 4.3 and 4.4; Sabour 2017 eq. 1; THUDM/ComiRec src/model.py",
        "conventions": [
            "case n uses the first history_length items of inputs.history, right-padded to 16",
            "S maps as S @ e (torch.nn.Linear weight without bias), shared by interests and "
            "positions",
            "first_logits[k, p] and recency[p]: p = position from the end, 0 = most recent",
            "used = clamp(floor(log2 length), 1, K); w = softmax over interests for each "
            "behaviour, unused interests at -inf, padding positions contribute nothing",
            "z_j = sum_i w_ij exp(recency_i) S e_i; u_j = squash(z_j); b_ij += u_j . S e_i (the "
            "agreement has no recency factor); 3 iterations, 2 updates of b",
            "without_recency: recency = 0 everywhere (factor exp(0) = 1)",
            "unused interests repeat interest 0; length 0 gives zero interests, used = 1",
            "label_aware: softmax(p * (V @ e)) over used interests, e = item_table[target]; inf: "
            "the interest with the greatest V @ e",
            "grad_*: gradient of sum(probe * interests), all K rows after repetition, with the "
            "last iteration's routing weights held constant (no gradient through the first two)",
            "mlp_*: [interest (3), user_table[user] (2)] through user_mlp, W [out, in]; ReLU "
            "between layers; the last layer is given both linear and with ReLU",
            COSINE,
        ],
        "inputs": {
            "history": HISTORY,
            "target": TARGET,
            "probe": plain_numbers(INTERESTS, DIM, seed=60),
        },
        "parameters": given,
        "expected": {
            "without_recency": [case(n, given, recency=flat) for n in LENGTHS],
            "with_recency": [case(n, given, recency=given["recency"]) for n in LENGTHS],
            "cosine": {"scale": SCALE, "cases": [cosine_case(n, given) for n in LENGTHS]},
        },
    }
