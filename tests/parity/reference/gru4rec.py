"""GRU4Rec as a sequence model: a GRU unrolled over the whole history, tied table.

Sources: Hidasi 2016 section 3; hidasib/GRU4Rec_PyTorch_Official gru4rec_pytorch.py (constrained
embedding: the input rows are the output rows; torch.nn.GRUCell). PyTorch's gates: r, z, n in this
order, n = tanh(W_in x + b_in + r * (W_hn h + b_hn)), h' = (1 - z) n + z h. Deviation: no item bias.
"""

from __future__ import annotations

import numpy as np

from tests.parity.reference.common import Array, checked_gradient, plain_numbers, sigmoid

ITEMS, DIM, LAYERS = 6, 3, 2
HISTORIES = [[1, 3, 2, 5, 4], [2, 2, 0, 0, 0], [0, 0, 0, 0, 0]]
LENGTHS = [5, 2, 0]


def cell(x: Array, h: Array, gates: dict) -> Array:
    """One step of PyTorch's GRU cell."""
    size = len(h)
    a = gates["weight_ih"] @ x + gates["bias_ih"]
    b = gates["weight_hh"] @ h + gates["bias_hh"]
    r = sigmoid(a[:size] + b[:size])
    z = sigmoid(a[size : 2 * size] + b[size : 2 * size])
    n = np.tanh(a[2 * size :] + r * b[2 * size :])
    return (1 - z) * n + z * h


def hidden(weights: dict, items: list[int]) -> list[Array]:
    """The top layer's state after every item; the first state of each layer is zero."""
    states = [weights["item_table"][0] * 0 for _ in weights["layers"]]
    out = []
    for item in items:
        x = weights["item_table"][item]
        for depth, gates in enumerate(weights["layers"]):
            states[depth] = cell(x, states[depth], gates)
            x = states[depth]
        out.append(x)
    return out


def parameters() -> dict:
    """Item table (row 0 padding) and two layers, gates stacked r, z, n."""
    return {
        "item_table": plain_numbers(ITEMS, DIM, seed=201),
        "layers": [
            {
                "weight_ih": plain_numbers(3 * DIM, DIM, seed=202 + 10 * depth),
                "weight_hh": plain_numbers(3 * DIM, DIM, seed=203 + 10 * depth),
                "bias_ih": plain_numbers(3 * DIM, seed=204 + 10 * depth),
                "bias_hh": plain_numbers(3 * DIM, seed=205 + 10 * depth),
            }
            for depth in range(LAYERS)
        ],
    }


def case(weights: dict) -> dict:
    """States at every position, user vectors, scores and the gradient of a probe."""
    histories = [items[:n] for items, n in zip(HISTORIES, LENGTHS, strict=True)]
    states = [hidden(weights, items) for items in histories]
    users = [rows[-1] if rows else np.zeros(DIM) for rows in states]
    table, probe = weights["item_table"], plain_numbers(5, DIM, seed=230)
    return {
        "hidden": states,
        "user_vectors": users,
        "scores": np.array(users) @ table.T,
        "grad_item_table_of_row_0": checked_gradient(
            lambda x: np.sum(np.array(hidden({**weights, "item_table": x}, histories[0])) * probe),
            table,
        ),
    }


def values() -> dict:
    """One layer (the first of the two) and both."""
    weights = parameters()
    return {
        "source": "Hidasi 2016 section 3; hidasib/GRU4Rec_PyTorch_Official gru4rec_pytorch.py",
        "conventions": [
            "gates stacked r, z, n as torch.nn.GRU weight_ih_l0, weight_hh_l0, bias_ih_l0, "
            "bias_hh_l0",
            "h0 = 0; hidden[b] = top state after each valid item, oldest first; user vector = the "
            "last one, the zero vector for an empty history",
            "input = item_table[item] (not scaled); scores = user vector . item_table rows; no "
            "bias; no dropout",
            "one_layer uses parameters.layers[0] only; grad_*: gradient of sum(probe * hidden[0])",
        ],
        "inputs": {
            "history": HISTORIES,
            "history_length": LENGTHS,
            "probe": plain_numbers(5, DIM, seed=230),
        },
        "parameters": weights,
        "expected": {
            "one_layer": case({**weights, "layers": weights["layers"][:1]}),
            "two_layers": case(weights),
        },
    }
