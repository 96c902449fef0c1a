"""Sequential rules, the reference baseline.

Source: Ludewig and Jannach 2018 section 3.1 (sequential rules, weight 1 / distance), with this
project's form: rows shrunk by their sum + 5, the last H items decayed, a small popularity share.
"""

from __future__ import annotations

import numpy as np

from tests.parity.reference.common import Array

ITEMS, WINDOW, LAST, DECAY = 5, 3, 2, 0.5
TRAINING = [[0, 1, 2, 3], [1, 2, 1, 4], [3, 0, 1], [2]]
QUERIES = [[0, 1], [3], [1, 4, 2], []]


def rule_sums() -> Array:
    """Sum of 1 / d over pairs with b at distance d <= W after a, repeats of a included."""
    sums = np.zeros((ITEMS, ITEMS))
    for history in TRAINING:
        for i, a in enumerate(history):
            for d in range(1, WINDOW + 1):
                if i + d < len(history):
                    sums[a, history[i + d]] += 1 / d
    return sums


def popularity() -> Array:
    """Share of the training events of each item."""
    counts = np.zeros(ITEMS)
    for history in TRAINING:
        for item in history:
            counts[item] += 1
    return counts / counts.sum()


def scores(history: list[int]) -> Array:
    """sum_{j < H} decay^j M[h(-1-j)] + 0.001 popularity share."""
    sums = rule_sums()
    rules = sums / (sums.sum(axis=1, keepdims=True) + 5)
    total = 0.001 * popularity()
    for j, item in enumerate(reversed(history[-LAST:] if history else [])):
        total = total + DECAY**j * rules[item]
    return total


def check_by_hand() -> None:
    """Two entries worked out on paper."""
    sums = rule_sums()
    # 1 -> 2 at distance 1 in the first and in the second history.
    np.testing.assert_allclose(sums[1, 2], 2.0)
    # 1 -> 4: distance 3 and distance 1 in the second history.
    np.testing.assert_allclose(sums[1, 4], 1 / 3 + 1)
    # Row 1: 2 (2), 3 (1/2), 1 (1/2), 4 (4/3): 13/3; the query [0, 1] gets 1 with weight 1.
    np.testing.assert_allclose(sums[1].sum(), 13 / 3)
    expected = (4 / 3) / (13 / 3 + 5) + 0.001 / 12
    np.testing.assert_allclose(scores([0, 1])[4], expected)


def values() -> dict:
    """Training histories, rule matrix and scores of some queries."""
    check_by_hand()
    sums = rule_sums()
    return {
        "source": "Ludewig and Jannach 2018 section 3.1; shrinkage, decay and popularity share: "
        "this project",
        "conventions": [
            "M[a, b] = sum of 1/d over training pairs with b at distance d <= W after a, divided "
            "by (the row's sum + 5); a pair (a, a) counts like any other",
            "score(b) = sum over j < H of decay^j M[h(-1-j), b] + 0.001 * popularity share of b",
            "seen items are not masked here; histories shorter than H use what they have",
        ],
        "inputs": {
            "num_items": ITEMS,
            "window": WINDOW,
            "last": LAST,
            "decay": DECAY,
            "training_histories": TRAINING,
            "queries": QUERIES,
        },
        "expected": {
            "sums": sums,
            "rules": sums / (sums.sum(axis=1, keepdims=True) + 5),
            "popularity_share": popularity(),
            "scores": [scores(query) for query in QUERIES],
        },
    }
