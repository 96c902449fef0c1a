"""YoutubeDNN user tower: mean of the last items, and the learned recency pooling.

Sources: Covington 2016 section 3.2 (mean of recent item embeddings beside the user features, ReLU
tower, item side = a table of output vectors). The recency pooling is this project's own: softmax
over the valid positions of a learned vector indexed from the end, then the last item's embedding
beside the pooled one.
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
    softmax,
)

MAX_LEN = 4
USERS = [0, 1, 2, 1]
HISTORIES = [[1, 2, 3, 4, 5, 1], [4, 2, 0, 0, 0, 0], [3, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]]
LENGTHS = [6, 2, 1, 0]


def recent(items: list[int], length: int) -> list[int]:
    """The last MAX_LEN valid items, oldest first."""
    return items[:length][-MAX_LEN:]


def mean_pool(table: Array, items: list[int]) -> Array:
    """Plain mean; zero when empty."""
    total = table[0] * 0
    for item in items:
        total = total + table[item]
    return total / max(len(items), 1)


def recency_pool(table: Array, position: Array, items: list[int]) -> Array:
    """[sum_i w_i e_i, e_last], w = softmax of position[0 = most recent, ...]; zero when empty."""
    if not items:
        return np.concatenate([table[0] * 0, table[0] * 0])
    from_end = [len(items) - 1 - i for i in range(len(items))]
    shares = softmax(np.array([position[p] for p in from_end]))
    pooled = table[0] * 0
    for share, item in zip(shares, items, strict=True):
        pooled = pooled + share * table[item]
    return np.concatenate([pooled, table[items[-1]]])


def towers(weights: dict, *, recency: bool) -> list[Array]:
    """MLP([pooled history, user embedding]) of each user."""
    out = []
    for user, items, length in zip(USERS, HISTORIES, LENGTHS, strict=True):
        kept = recent(items, length)
        pooled = (
            recency_pool(weights["item_table"], weights["position"], kept)
            if recency
            else mean_pool(weights["item_table"], kept)
        )
        layers = weights["recency_mlp" if recency else "mean_mlp"]
        out.append(mlp(np.concatenate([pooled, weights["user_table"][user]]), layers))
    return out


def parameters() -> dict:
    """Every weight; row 0 of the item table is padding."""
    return {
        "item_table": plain_numbers(6, 3, seed=31),
        "user_table": plain_numbers(3, 2, seed=32),
        "position": plain_numbers(MAX_LEN, seed=33, scale=2.0),
        "output_table": plain_numbers(6, 3, seed=34),
        "mean_mlp": [
            layer(4, 5, seed=35),
            layer(3, 4, seed=37),
        ],
        "recency_mlp": [
            layer(4, 8, seed=39),
            layer(3, 4, seed=41),
        ],
    }


def check_equal_positions(weights: dict) -> None:
    """Equal position weights make the recency pooling the plain mean."""
    items = recent(HISTORIES[0], LENGTHS[0])
    flat = recency_pool(weights["item_table"], np.zeros(MAX_LEN), items)
    np.testing.assert_allclose(flat[:3], mean_pool(weights["item_table"], items), rtol=1e-12)


def case(weights: dict, *, recency: bool) -> dict:
    """Tower outputs, scores of the output table, and gradients of the sum of outputs."""
    outputs = towers(weights, recency=recency)
    if len({tuple(vector) for vector in outputs}) < len(outputs):
        raise AssertionError("two users share one vector: the weights cannot tell errors apart")
    found = {
        "user_vectors": outputs,
        "normalised_user_vectors": [normalise(x) for x in outputs],
        "scores": np.array(outputs) @ weights["output_table"].T,
    }
    for name in ["item_table", "position"] if recency else ["item_table"]:
        found[f"grad_{name}_of_sum_of_vectors"] = checked_gradient(
            lambda x, name=name: np.sum(towers({**weights, name: x}, recency=recency)),
            weights[name],
        )
    return found


def values() -> dict:
    """Inputs, weights and outputs of both poolings."""
    weights = parameters()
    check_equal_positions(weights)
    kept = [recent(items, length) for items, length in zip(HISTORIES, LENGTHS, strict=True)]
    table, position = weights["item_table"], weights["position"]
    return {
        "source": "Covington 2016 section 3.2; recency pooling: this project",
        "conventions": [
            "history right-padded, oldest first; only the last max_len valid items count",
            "position[0] belongs to the most recent item, position[1] to the one before, and so on",
            "empty history: the pooled vector and the last item's embedding are zero vectors",
            "MLP input = [pooled (3), user embedding (2)], or with recency [pooled (3), last item "
            "(3), user embedding (2)]; permute columns of the first W for another order",
            "linear layer: y = W x + b, W [out, in]; ReLU between layers, last one linear",
            "scores = user vector . output_table rows (dot, temperature 1)",
        ],
        "inputs": {
            "user": USERS,
            "history": HISTORIES,
            "history_length": LENGTHS,
            "max_len": MAX_LEN,
        },
        "parameters": weights,
        "expected": {
            "mean_pooled": [mean_pool(table, items) for items in kept],
            "recency_pooled_and_last": [recency_pool(table, position, items) for items in kept],
            "mean": case(weights, recency=False),
            "recency": case(weights, recency=True),
        },
    }
