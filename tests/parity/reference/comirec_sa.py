"""ComiRec-SA's self-attentive interests, and ComiRec's controllable aggregation.

Sources: Cen 2020 section 3.2 (SA) and 3.4 (aggregation, algorithm 2); THUDM/ComiRec src/model.py
class Model_ComiRec_SA: positions enter the attention only, the values are the plain embeddings.
The paper has no bias in either layer, the code has one in both; a bias of the second layer cancels
in the softmax over positions. Deviation: positions are counted from the end.
"""

from __future__ import annotations

import numpy as np

from tests.parity.reference.common import Array, checked_gradient, plain_numbers, softmax

ITEMS, DIM, HIDDEN, INTERESTS, MAX_LEN = 6, 2, 4, 3, 4
HISTORIES = [[1, 3, 2, 5], [2, 4, 0, 0], [3, 0, 0, 0], [0, 0, 0, 0]]
LENGTHS = [4, 2, 1, 0]
TARGET = 4
SCORES, CATEGORIES = [0.9, 0.8, 0.7, 0.65, 0.35], [0, 0, 0, 1, 2]


def interests(weights: dict, items: list[int]) -> tuple[Array, Array]:
    """(V [K, D], attention [K, n]) of one history; zero interests when it is empty."""
    table, count = weights["item_table"], len(items)
    if not count:
        return np.zeros((INTERESTS, DIM)), np.zeros((INTERESTS, 0))
    logits = []
    for i, item in enumerate(items):
        x = table[item] + weights["position_table"][count - 1 - i]
        logits.append(weights["W2"] @ np.tanh(weights["W1"] @ x + weights["b1"]))
    shares = np.array([softmax(row) for row in np.array(logits).T])
    return shares @ table[items], shares


def aggregate(number: int, factor: float) -> list[int]:
    """Greedy choice: score + factor * (chosen items of another category), ties to the first."""
    chosen: list[int] = []
    while len(chosen) < number:
        gains = [
            -np.inf
            if item in chosen
            else score + factor * sum(CATEGORIES[item] != CATEGORIES[other] for other in chosen)
            for item, score in enumerate(SCORES)
        ]
        chosen.append(int(np.argmax(gains)))
    return chosen


def parameters(*, bias: bool) -> dict:
    """Item table (row 0 padding), positions from the end, both attention layers."""
    return {
        "item_table": plain_numbers(ITEMS, DIM, seed=301),
        "position_table": plain_numbers(MAX_LEN, DIM, seed=302),
        "W1": plain_numbers(HIDDEN, DIM, seed=303),
        "b1": plain_numbers(HIDDEN, seed=304) * bias,
        "W2": plain_numbers(INTERESTS, HIDDEN, seed=305, scale=3.0),
    }


def case(weights: dict) -> list[dict]:
    """Per history: attention, interests, the target's choice, gradients of a probe."""
    probe, out = plain_numbers(INTERESTS, DIM, seed=306), []
    for items, length in zip(HISTORIES, LENGTHS, strict=True):
        kept = items[:length]
        found, shares = interests(weights, kept)
        match = found @ weights["item_table"][TARGET]
        row = {
            "attention": shares,
            "interests": found,
            "chosen_interest": int(np.argmax(match)),
            "serving_score_of_target": np.max(match),
        }
        for name in ["item_table", "position_table", "W1", "W2"]:
            row[f"grad_{name}"] = checked_gradient(
                lambda x, name=name, kept=kept: np.sum(
                    interests({**weights, name: x}, kept)[0] * probe
                ),
                weights[name],
            )
        out.append(row)
    return out


def values() -> dict:
    """With and without the first layer's bias, and the greedy aggregation."""
    with_bias, without = parameters(bias=True), parameters(bias=False)
    # Factor .2: 0 first; then 3 (.65 + .2) beats 1 (.8); then 1 (.8 + .2) beats 4 (.35 + .4).
    if aggregate(3, 0.0) != [0, 1, 2] or aggregate(3, 0.2) != [0, 3, 1]:
        raise AssertionError("the greedy aggregation left the order worked out by hand")
    return {
        "source": "Cen 2020 sections 3.2 and 3.4; THUDM/ComiRec src/model.py Model_ComiRec_SA",
        "conventions": [
            "per position: W2 @ tanh(W1 @ (e + position_table[p]) + b1), p = position from the "
            "end, 0 = most recent; softmax over the valid positions for each interest",
            "interests = attention @ e, the embeddings without positions; W [out, in]",
            "an empty history gives zero interests; all K interests are used otherwise",
            "chosen_interest: argmax of interest . item_table[target]; serving: the best one",
            "grad_*: gradient of sum(probe * interests)",
            "aggregation: greedy, score + factor * number of already chosen items of "
            "another category",
        ],
        "inputs": {
            "history": HISTORIES,
            "history_length": LENGTHS,
            "target": TARGET,
            "probe": plain_numbers(INTERESTS, DIM, seed=306),
            "aggregation_scores": SCORES,
            "aggregation_categories": CATEGORIES,
        },
        "parameters": {"with_bias": with_bias, "without_bias": without},
        "expected": {
            "with_bias": case(with_bias),
            "without_bias": case(without),
            "aggregation": {str(f): aggregate(4, f) for f in [0.0, 0.2, 1.0]},
        },
    }
