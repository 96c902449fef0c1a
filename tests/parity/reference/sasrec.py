"""SASRec: scaled input, learned positions, true pre-norm causal blocks, tied table.

Sources: Kang 2018 section 3 (eqs. 1-6); the authors' TensorFlow code scales the embedding by
sqrt(D) and has no output projection; pmixer/SASRec.pytorch python/model.py with norm_first for the
block: x + attention(norm(x)), then x + feed-forward(norm(x)), then a last norm.
Deviations from Kang 2018: queries, keys and values are all taken from the normalised input (the
2018 code normalises queries only); positions are counted from the end of the window.
The kind "relative" has no position table: each head of each block adds a learned scalar, chosen by
the distance between query and key, to its attention scores (Raffel et al. 2020, "Exploring the
Limits of Transfer Learning with a Unified Text-to-Text Transformer", JMLR 21(140), section 2.1).
Deviations from it: one scalar a distance instead of buckets; one set a block instead of one shared
by all; the scores keep their 1/sqrt(D / heads) scale, and the scalar is added after it.
"""

from __future__ import annotations

import numpy as np

from tests.parity.reference.common import (
    Array,
    checked_gradient,
    layer,
    linear,
    mlp,
    plain_numbers,
    softmax,
)

ITEMS, DIM, MAX_LEN, BLOCKS, EPS = 6, 4, 5, 2, 1e-5
HISTORIES = [[1, 3, 2, 5, 4], [2, 2, 1, 0, 0], [4, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
LENGTHS = [5, 3, 1, 0]


def layer_norm(x: Array, weight: Array, bias: Array) -> Array:
    """(x - mean) / sqrt(biased variance + eps) * weight + bias."""
    centred = x - np.mean(x)
    return centred / np.sqrt(np.mean(centred * centred) + EPS) * weight + bias


def attention(x: Array, block: dict, *, heads: int) -> Array:
    """Causal multi-head attention with scale 1/sqrt(D / heads) and an output projection.

    A block with "distance" [MAX_LEN, heads] adds distance[i - j, head] to the scaled score of
    query i and key j.
    """
    size = DIM // heads
    q, k, v = (np.array([linear(row, **block[name]) for row in x]) for name in "qkv")
    out = []
    for i in range(len(x)):
        parts = []
        for head in range(heads):
            cut = slice(head * size, (head + 1) * size)
            scores = k[: i + 1, cut] @ q[i, cut] / np.sqrt(size)
            if "distance" in block:
                scores = scores + np.array([block["distance"][i - j, head] for j in range(i + 1)])
            parts.append(softmax(scores) @ v[: i + 1, cut])
        out.append(linear(np.concatenate(parts), **block["o"]))
    return np.array(out)


def hidden(weights: dict, items: list[int], *, heads: int) -> Array:
    """The output at every position of one history without padding, [n, D]."""
    table, positions = weights["item_table"], weights.get("position_table")
    count = len(items)
    if not count:
        return np.zeros((0, DIM))
    x = np.array([np.sqrt(DIM) * table[item] for item in items])
    if positions is not None:
        x = x + np.array([positions[count - 1 - i] for i in range(count)])
    for block in weights["blocks"]:
        normed = np.array([layer_norm(row, **block["norm1"]) for row in x])
        x = x + attention(normed, block, heads=heads)
        x = np.array([row + mlp(layer_norm(row, **block["norm2"]), block["ffn"]) for row in x])
    return np.array([layer_norm(row, **weights["last_norm"]) for row in x])


def norm_weights(seed: int) -> dict[str, Array]:
    """LayerNorm weight near 1 and a small bias."""
    return {
        "weight": 1 + plain_numbers(DIM, seed=seed, scale=0.2),
        "bias": plain_numbers(DIM, seed=seed + 1, scale=0.2),
    }


def square(seed: int) -> dict[str, Array]:
    """A D x D linear layer under the names `linear` takes."""
    return {
        "weight": plain_numbers(DIM, DIM, seed=seed),
        "bias": plain_numbers(DIM, seed=seed + 1, scale=0.5),
    }


def parameters(*, paper: bool) -> dict:
    """All weights; with `paper` the output projection is the identity, as in Kang 2018."""
    blocks = []
    for number in range(BLOCKS):
        seed = 100 + 20 * number
        output = {"weight": np.eye(DIM), "bias": np.zeros(DIM)}
        blocks.append(
            {
                "norm1": norm_weights(seed),
                "q": square(seed + 2),
                "k": square(seed + 4),
                "v": square(seed + 6),
                "o": output if paper else square(seed + 8),
                "norm2": norm_weights(seed + 10),
                "ffn": [layer(DIM, DIM, seed=seed + 12), layer(DIM, DIM, seed=seed + 14)],
            }
        )
    return {
        "item_table": plain_numbers(ITEMS, DIM, seed=90),
        "position_table": plain_numbers(MAX_LEN, DIM, seed=91),
        "blocks": blocks,
        "last_norm": norm_weights(92),
    }


def relative_parameters() -> dict:
    """The general weights without position table, and two columns of distances a block."""
    weights = parameters(paper=False)
    del weights["position_table"]
    for number, block in enumerate(weights["blocks"]):
        block["distance"] = plain_numbers(MAX_LEN, 2, seed=116 + 20 * number, scale=2.0)
        if np.min(np.abs(block["distance"])) < 0.1:
            raise AssertionError("a distance scalar is too near to zero to be seen")
    return weights


def case(weights: dict, *, heads: int) -> dict:
    """Hidden states, user vectors, catalogue scores and one gradient."""
    histories = [items[:n] for items, n in zip(HISTORIES, LENGTHS, strict=True)]
    states = [hidden(weights, items, heads=heads) for items in histories]
    table, probe = weights["item_table"], plain_numbers(MAX_LEN, DIM, seed=93)
    users = [rows[-1] if len(rows) else np.zeros(DIM) for rows in states]

    def probed(x: Array) -> complex:
        moved = hidden({**weights, "item_table": x}, histories[0], heads=heads)
        return np.sum(moved * probe)

    return {
        "heads": heads,
        "hidden": states,
        "user_vectors": users,
        "scores": np.array(users) @ table.T,
        "grad_item_table_of_row_0": checked_gradient(probed, table),
    }


def check_causal(weights: dict) -> None:
    """A later item changes no earlier output of the same window."""
    before = hidden(weights, [1, 3, 2, 5], heads=2)
    after = hidden(weights, [1, 3, 2, 4], heads=2)
    np.testing.assert_array_equal(before[:3], after[:3])
    if np.allclose(before[3], after[3]):
        raise AssertionError("the last item has no effect")


def check_distance(weights: dict) -> None:
    """Limits of the scalars: a huge one picks its key, one number everywhere does nothing."""
    block, items = weights["blocks"][0], HISTORIES[0]
    x = weights["item_table"][items]
    values = [linear(row, **block["v"]) for row in x]
    for far, also in [(0, 0), (1, 1), (3, 3), (1, 4), (4, 2)]:
        steep = np.full((MAX_LEN, 2), -1e4)
        steep[far, 0], steep[also, 1] = 0, 0
        out = attention(x, {**block, "distance": steep}, heads=2)
        for i in range(max(far, also), MAX_LEN):
            halves = [values[i - far][: DIM // 2], values[i - also][DIM // 2 :]]
            wanted = linear(np.concatenate(halves), **block["o"])
            np.testing.assert_allclose(out[i], wanted, rtol=1e-12, atol=1e-12)
    without = {key: entry for key, entry in block.items() if key != "distance"}
    flat = {**block, "distance": np.tile([0.7, -1.3], (MAX_LEN, 1))}
    plain = attention(x, without, heads=2)
    np.testing.assert_allclose(attention(x, flat, heads=2), plain, rtol=1e-12, atol=1e-12)
    for number, position, head in np.ndindex(BLOCKS, MAX_LEN, 2):
        moved = with_moved_distance(weights, number, position, head)
        change = hidden(moved, items, heads=2) - hidden(weights, items, heads=2)
        if np.max(np.abs(change)) < 1e-3:
            raise AssertionError(f"distance {position} of block {number}, head {head} is unseen")


def with_moved_distance(weights: dict, number: int, position: int, head: int) -> dict:
    """The same weights with 0.5 added to one scalar."""
    blocks = [dict(block) for block in weights["blocks"]]
    blocks[number]["distance"] = blocks[number]["distance"].copy()
    blocks[number]["distance"][position, head] += 0.5
    return {**weights, "blocks": blocks}


def values() -> dict:
    """Paper-like (no output projection, one head), general and relative (two heads)."""
    general, paper = parameters(paper=False), parameters(paper=True)
    relative = relative_parameters()
    check_causal(general)
    check_causal(relative)
    check_distance(relative)
    return {
        "source": "Kang 2018 section 3; pmixer/SASRec.pytorch python/model.py (norm_first)",
        "conventions": [
            "linear: y = W x + b, W [out, in]; q, k, v, o map to torch.nn.MultiheadAttention with "
            "in_proj = rows of q, then k, then v, and out_proj = o",
            "input: sqrt(D) * item_table[item] + position_table[p], p = position from the end of "
            "the history, 0 = most recent; no dropout",
            "block: x = x + o(attention(norm1(x))); x = x + ffn(norm2(x)); ffn = linear, ReLU, "
            "linear",
            "attention: causal, heads = consecutive slices of D / heads, scale 1/sqrt(D / heads)",
            "last_norm after the last block; LayerNorm: biased variance, eps inside the root",
            "hidden[b]: every valid position of history b, oldest first; user vector = the "
            "last one; an empty history gives the zero vector",
            "scores = user vector . item_table rows (tied, unscaled table), row 0 = padding",
            "paper: o is the identity; grad_*: gradient of sum(probe * hidden[0]), one D row "
            "a position",
            "relative: general without position_table, input = sqrt(D) * item_table[item]; in "
            "every block distance[i - j, head] is added to the scaled score of query i and key "
            "j <= i (Raffel et al. 2020, JMLR 21(140), section 2.1, without buckets)",
        ],
        "inputs": {
            "history": HISTORIES,
            "history_length": LENGTHS,
            "eps": EPS,
            "probe": plain_numbers(MAX_LEN, DIM, seed=93),
        },
        "parameters": {"general": general, "paper": paper, "relative": relative},
        "expected": {
            "general": case(general, heads=2),
            "paper": case(paper, heads=1),
            "relative": case(relative, heads=2),
        },
    }
