"""Two-tower DSSM with cosine over temperature.

Sources: Huang 2013 (towers and cosine), Yi 2019 section 3 (normalised embeddings, temperature).
Deviation from Huang 2013: ReLU in place of tanh, and embeddings in place of letter trigrams.
"""

from __future__ import annotations

import numpy as np

from tests.parity.reference.common import (
    Array,
    checked_gradient,
    layer,
    mlp,
    normalise,
    plain_numbers,
)

TEMPERATURE = 0.1
USERS = [0, 2, 1]
HISTORIES = [[1, 2, 3, 4, 1], [5, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
LENGTHS = [5, 1, 0]
ITEMS = [1, 3, 5, 4]
GENRES = [0, 1, 1, 0]
CONVENTIONS = [
    "linear layer: y = W x + b, W [out, in] as torch.nn.Linear.weight",
    "MLP: ReLU after every layer but the last, which is linear; no dropout, no batch norm",
    "user input = [user embedding (2), mean history embedding (3)]; item input = [item "
    "embedding (3), genre embedding (2)]; the history shares the item table",
    "permute the columns of the first W if the model concatenates in another order",
    "history is right-padded; only the first `length` entries count; an empty history "
    "pools to the zero vector",
    "vector = x / |x|; score = u . v / temperature; vectors are exported normalised",
]


def mean_pool(table: Array, items: list[int], length: int) -> Array:
    """Mean of the first `length` rows of a right-padded history; zero when empty."""
    total = table[0] * 0
    for item in items[:length]:
        total = total + table[item]
    return total / max(length, 1)


def parameters() -> dict:
    """Every weight; item table row 0 is the padding row and must not enter any result."""
    return {
        "user_table": plain_numbers(3, 2, seed=11),
        "item_table": plain_numbers(6, 3, seed=12),
        "genre_table": plain_numbers(2, 2, seed=13),
        "user_mlp": [
            layer(4, 5, seed=14),
            layer(3, 4, seed=16),
        ],
        "item_mlp": [
            layer(4, 5, seed=18),
            layer(3, 4, seed=20),
        ],
    }


def user_inputs(weights: dict) -> list[Array]:
    """[user embedding, mean history embedding] of each user."""
    return [
        np.concatenate(
            [weights["user_table"][user], mean_pool(weights["item_table"], items, length)]
        )
        for user, items, length in zip(USERS, HISTORIES, LENGTHS, strict=True)
    ]


def item_inputs(weights: dict) -> list[Array]:
    """[item embedding, genre embedding] of each item."""
    return [
        np.concatenate([weights["item_table"][item], weights["genre_table"][genre]])
        for item, genre in zip(ITEMS, GENRES, strict=True)
    ]


def scores(weights: dict) -> Array:
    """Cosine of every user and item tower output over the temperature, [B, N]."""
    users = [normalise(mlp(x, weights["user_mlp"])) for x in user_inputs(weights)]
    items = [normalise(mlp(x, weights["item_mlp"])) for x in item_inputs(weights)]
    return np.array([[u @ v / TEMPERATURE for v in items] for u in users])


def values() -> dict:
    """Inputs, weights and tower outputs."""
    weights = parameters()
    users = [mlp(x, weights["user_mlp"]) for x in user_inputs(weights)]
    items = [mlp(x, weights["item_mlp"]) for x in item_inputs(weights)]
    table_gradient = checked_gradient(
        lambda table: np.sum(scores({**weights, "item_table": table})), weights["item_table"]
    )
    if np.any(table_gradient[0] != 0):
        raise AssertionError("the padding row entered a result")
    return {
        "source": "Huang 2013; Yi 2019 section 3",
        "conventions": CONVENTIONS,
        "inputs": {
            "user": USERS,
            "history": HISTORIES,
            "history_length": LENGTHS,
            "item": ITEMS,
            "genre": GENRES,
            "temperature": TEMPERATURE,
        },
        "parameters": weights,
        "expected": {
            "user_mlp_input": user_inputs(weights),
            "user_mlp_output": users,
            "user_vectors": [normalise(x) for x in users],
            "item_mlp_output": items,
            "item_vectors": [normalise(x) for x in items],
            "scores": scores(weights),
            "grad_item_table_of_sum_of_scores": table_gradient,
        },
    }
