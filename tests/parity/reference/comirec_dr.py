"""ComiRec-DR's dynamic routing with a map for each position and interest.

Sources: Cen 2020 section 3.2 and algorithm 1; THUDM/ComiRec src/model.py class CapsuleNetwork
(bilinear_type 2): logits start at zero, softmax over the interests, padding weights zero, gradient
through the third iteration only. Deviation: positions are counted from the end.
Further forms: agreement by cosine with a scale ("cosine"), and one map an interest with a weight
exp(recency[position from the end]) for each position ("one_map", and "one_map_dot" by dot).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.parity.reference.common import (
    Array,
    checked_gradient,
    cosines,
    plain_numbers,
    softmax,
    squash,
)

ITEMS, DIM, INTERESTS, MAX_LEN, ITERATIONS = 6, 2, 3, 4, 3
HISTORIES = [[1, 3, 2, 5], [2, 4, 0, 0], [3, 0, 0, 0], [0, 0, 0, 0]]
LENGTHS = [4, 2, 1, 0]
TARGET, SCALE = 4, 3.5
FORM_SOURCE = (
    "source: this project's form; routing as in Li 2019 / Cen 2020 with cosine agreement "
    "(Sabour 2017 routing by agreement) and a learned scale"
)
CONVENTIONS = [
    "maps[p, k] @ e: p = position from the end (0 = most recent), k = interest",
    "logits start at 0; w = softmax over the K interests for each valid position; "
    "z_k = sum_i w_ki maps[p_i, k] e_i; u_k = squash(z_k); b_ki += u_k . maps[p_i, k] e_i; "
    "3 iterations, 2 updates of b",
    "fixed K: every interest is used at every length; an empty history gives zeros",
    "grad_*: gradient of sum(probe * interests) with the last iteration's weights held constant",
    "cosine: as cases but b_ki += scale * cos(u_k, maps[p_i, k] e_i), 0 for a zero vector; "
    "grad_item_table and grad_maps as above; grad_scale: the cosines of both earlier iterations "
    "held constant, last b = scale * (cosines of iteration 1 + cosines of iteration 2), w = its "
    "softmax over interests, vectors constant; " + FORM_SOURCE,
    "one_map: its own maps[k] and recency[p]; z_k = maps[k] @ sum_i w_ki exp(recency[p_i]) e_i; "
    "u_k = squash(z_k); w = softmax over interests of b (no recency in it), b starts at 0; "
    "b_ki += scale * cos(maps[k]^T u_k, e_i), 0 for a zero vector; 3 iterations, 2 updates of b; "
    "grad_* as in cosine, grad_recency through the sum only; " + FORM_SOURCE,
    "one_map_dot: as one_map, same maps and recency, but b_ki += u_k . (maps[k] @ e_i), no scale",
]
# From weights [K, n] to interests [K, D], and from interests to the agreement [K, n].
Form = tuple[Callable[[Array], Array], Callable[[Array], Array]]


def route(
    table: Array, maps: Array, items: list[int], *, frozen: Array | None = None
) -> tuple[Array, Array]:
    """(interests [K, D], last routing weights [K, n]); maps [L from the end, K, D, D]."""
    count = len(items)
    if not count:
        return np.zeros((INTERESTS, DIM)), np.zeros((INTERESTS, 0))
    mapped = np.array(
        [
            [maps[count - 1 - i, k] @ table[item] for i, item in enumerate(items)]
            for k in range(INTERESTS)
        ]
    )
    logits = np.zeros((INTERESTS, count), dtype=mapped.dtype)
    for iteration in range(ITERATIONS):
        weights = np.array([softmax(column) for column in logits.T]).T
        if frozen is not None and iteration == ITERATIONS - 1:
            weights = frozen
        found = np.array([squash(weights[k] @ mapped[k]) for k in range(INTERESTS)])
        logits = logits + np.array([mapped[k] @ found[k] for k in range(INTERESTS)])
    return found, weights


def over_interests(logits: Array) -> Array:
    """Softmax over the interests for each behaviour, [K, n]."""
    return np.array([softmax(column) for column in logits.T]).reshape(logits.T.shape).T


def position_form(items: list[int], item_table: Array, maps: Array) -> Form:
    """A map for each position and interest, agreement by cosine."""
    count = len(items)
    mapped = [
        np.array([maps[count - 1 - i, k] @ item_table[item] for i, item in enumerate(items)])
        for k in range(INTERESTS)
    ]
    mapped = [vectors.reshape(count, DIM) for vectors in mapped]

    def capsules(weights: Array) -> Array:
        return np.array([squash(w @ vectors) for w, vectors in zip(weights, mapped, strict=True)])

    def agree(found: Array) -> Array:
        pairs = zip(found, mapped, strict=True)
        return np.array([cosines(u[None], vectors)[0] for u, vectors in pairs])

    return capsules, agree


def one_map_form(
    items: list[int], item_table: Array, maps: Array, recency: Array, *, cosine: bool = True
) -> Form:
    """A map for each interest and a weight for each position; agreement by cosine or dot."""
    embedded = item_table[items]
    factors = np.exp(recency[: len(items)][::-1])

    def capsules(weights: Array) -> Array:
        pairs = zip(weights, maps, strict=True)
        return np.array([squash(s @ ((w * factors) @ embedded)) for w, s in pairs])

    def agree(found: Array) -> Array:
        if cosine:
            return cosines(np.array([s.T @ u for u, s in zip(found, maps, strict=True)]), embedded)
        pairs = zip(found, maps, strict=True)
        return np.array([[u @ (s @ e) for e in embedded] for u, s in pairs])

    return capsules, agree


def one_map_dot_form(items: list[int], **given: Array) -> Form:
    """`one_map_form` with agreement by dot product."""
    return one_map_form(items, **given, cosine=False)


def agreement_sum(form: Form, count: int, scale: float | Array) -> Array:
    """The agreement summed over the iterations before the last, [K, n]."""
    capsules, agree = form
    total = np.zeros((INTERESTS, count))
    for _ in range(ITERATIONS - 1):
        total = total + agree(capsules(over_interests(scale * total)))
    return total


def scaled_case(
    build: Callable[..., Form], items: list[int], given: dict[str, Array], scale: float
) -> dict:
    """Interests of one history and their gradients by each of `given` and by the scale."""
    probe, form = plain_numbers(INTERESTS, DIM, seed=403), build(items, **given)
    total = agreement_sum(form, len(items), scale)
    weights = over_interests(scale * total)

    def probed(name: str, x: Array) -> complex:
        return np.sum(probe * build(items, **{**given, name: x})[0](weights))

    def rescaled(c: Array) -> complex:
        return np.sum(probe * form[0](over_interests(c * total)))

    gradients = {
        f"grad_{name}": checked_gradient(lambda x, name=name: probed(name, x), value)
        for name, value in given.items()
    }
    return {
        "history_length": len(items),
        "interests": form[0](weights),
        "routing_weights": weights,
        **gradients,
        "grad_scale": float(checked_gradient(rescaled, np.array(scale))),
    }


def scaled_cases(
    build: Callable[..., Form], given: dict[str, Array], *, scale: float = SCALE
) -> list[dict]:
    """`scaled_case` of every history."""
    kept = [items[:length] for items, length in zip(HISTORIES, LENGTHS, strict=True)]
    return [scaled_case(build, items, given, scale) for items in kept]


def one_map_parameters() -> dict[str, Array]:
    """Maps [interest, out, in] and recency [position from the end] of the one-map form."""
    return {
        "maps": plain_numbers(INTERESTS, DIM, DIM, seed=404),
        "recency": plain_numbers(MAX_LEN, seed=405),
    }


def check_forms(table: Array, maps: Array, one_map: dict[str, Array]) -> None:
    """Known limits: equal maps at all positions, rotations, one behaviour, lengths of vectors."""
    items, flat = HISTORIES[0], np.zeros(MAX_LEN)

    def weights(form: Form, scale: float) -> Array:
        return over_interests(scale * agreement_sum(form, len(items), scale))

    repeated = np.array([one_map["maps"]] * MAX_LEN)
    dot = one_map_dot_form(items, item_table=table, maps=one_map["maps"], recency=flat)
    np.testing.assert_allclose(weights(dot, 1.0), route(table, repeated, items)[1], rtol=1e-12)

    turns = [[[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]] for a in (0.3, 1.4, 4.0)]
    rotated = one_map_form(items, table, np.array(turns), flat)
    by_position = position_form(items, table, np.array([turns] * MAX_LEN))
    np.testing.assert_allclose(weights(rotated, SCALE), weights(by_position, SCALE), rtol=1e-12)

    alone = agreement_sum(position_form(items[:1], table, maps), 1, SCALE)
    np.testing.assert_allclose(alone, np.full((INTERESTS, 1), ITERATIONS - 1.0), rtol=1e-12)

    recency = one_map["recency"]
    short = one_map_form(items, table, one_map["maps"], recency)
    long = one_map_form(items, table * 1.7, one_map["maps"] * 3, recency + 0.4)
    np.testing.assert_allclose(weights(long, SCALE), weights(short, SCALE), rtol=1e-12)


def check_cuts(build: Callable[..., Form], given: dict[str, Array]) -> None:
    """Through all iterations the gradients by the maps and the scale are others."""
    items, probe = HISTORIES[0], plain_numbers(INTERESTS, DIM, seed=403)

    def whole(x: Array, scale: float | Array) -> complex:
        form = build(items, **{**given, "maps": x})
        return np.sum(
            probe * form[0](over_interests(scale * agreement_sum(form, len(items), scale)))
        )

    cut = scaled_case(build, items, given, SCALE)
    by_maps = checked_gradient(lambda x: whole(x, SCALE), given["maps"])
    by_scale = checked_gradient(lambda c: whole(given["maps"], c), np.array(SCALE))
    if np.allclose(by_maps, cut["grad_maps"], rtol=1e-3) or np.allclose(
        by_scale, cut["grad_scale"], rtol=1e-3
    ):
        raise AssertionError("this input cannot tell the cut gradient from the whole one")


def further_forms(table: Array, maps: Array) -> dict:
    """Expected values of the forms by cosine and with one map an interest."""
    one_map = one_map_parameters()
    by_position, by_interest = {"item_table": table, "maps": maps}, {"item_table": table, **one_map}
    check_forms(table, maps, one_map)
    check_cuts(position_form, by_position)
    check_cuts(one_map_form, by_interest)
    dot_cases = scaled_cases(one_map_dot_form, by_interest, scale=1.0)
    for entry in dot_cases:
        del entry["grad_scale"]
    return {
        "cosine": {"scale": SCALE, "cases": scaled_cases(position_form, by_position)},
        "one_map": {"scale": SCALE, **one_map, "cases": scaled_cases(one_map_form, by_interest)},
        "one_map_dot": {**one_map, "cases": dot_cases},
    }


def parameters() -> dict:
    """Item table (row 0 padding) and the maps [position from the end, interest, out, in]."""
    return {
        "item_table": plain_numbers(ITEMS, DIM, seed=401, scale=2.0),
        "maps": plain_numbers(MAX_LEN, INTERESTS, DIM, DIM, seed=402),
    }


def values() -> dict:
    """Interests of four lengths with gradients."""
    weights = parameters()
    table, maps, probe = weights["item_table"], weights["maps"], plain_numbers(3, DIM, seed=403)
    cases = []
    for items, length in zip(HISTORIES, LENGTHS, strict=True):
        kept = items[:length]
        found, last = route(table, maps, kept)
        cases.append(
            {
                "history_length": length,
                "routing_weights": last,
                "interests": found,
                "chosen_interest": int(np.argmax(found @ table[TARGET])),
                "grad_item_table": checked_gradient(
                    lambda x, kept=kept, last=last: np.sum(
                        route(x, maps, kept, frozen=last)[0] * probe
                    ),
                    table,
                ),
                "grad_maps": checked_gradient(
                    lambda x, kept=kept, last=last: np.sum(
                        route(table, x, kept, frozen=last)[0] * probe
                    ),
                    maps,
                ),
            }
        )
    return {
        "source": "Cen 2020 section 3.2, algorithm 1; THUDM/ComiRec src/model.py CapsuleNetwork",
        "conventions": CONVENTIONS,
        "inputs": {
            "history": HISTORIES,
            "history_length": LENGTHS,
            "target": TARGET,
            "probe": probe,
        },
        "parameters": weights,
        "expected": {"cases": cases, **further_forms(table, maps)},
    }
