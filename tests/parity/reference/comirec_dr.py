"""ComiRec-DR's dynamic routing with a map for each position and interest.

Sources: Cen 2020 section 3.2 and algorithm 1; THUDM/ComiRec src/model.py class CapsuleNetwork
(bilinear_type 2): logits start at zero, softmax over the interests, padding weights zero, gradient
through the third iteration only. Deviation: positions are counted from the end.
"""

from __future__ import annotations

import numpy as np

from tests.parity.reference.common import Array, checked_gradient, plain_numbers, softmax, squash

ITEMS, DIM, INTERESTS, MAX_LEN, ITERATIONS = 6, 2, 3, 4, 3
HISTORIES = [[1, 3, 2, 5], [2, 4, 0, 0], [3, 0, 0, 0], [0, 0, 0, 0]]
LENGTHS = [4, 2, 1, 0]
TARGET = 4
CONVENTIONS = [
    "maps[p, k] @ e: p = position from the end (0 = most recent), k = interest",
    "logits start at 0; w = softmax over the K interests for each valid position; "
    "z_k = sum_i w_ki maps[p_i, k] e_i; u_k = squash(z_k); b_ki += u_k . maps[p_i, k] e_i; "
    "3 iterations, 2 updates of b",
    "fixed K: every interest is used at every length; an empty history gives zeros",
    "grad_*: gradient of sum(probe * interests) with the last iteration's weights held constant",
]


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
        "expected": {"cases": cases},
    }
