"""Sorting rows by whole-number keys: packed into one word with the row, then sorted as values.

numpy sorts int64 values many times faster than it finds the order of them (vector instructions).
E rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
WORD_BITS = 63
BLOCK_ROWS = 1 << 20


def stable_order(*keys: npt.NDArray[Any]) -> Ints:
    """The order of the rows by these keys, int64 [E]; rows with equal keys stay in order.

    keys: integers [E], the most significant first.
    """
    order: Ints | None = None
    for key in reversed(keys):
        step = _order(key if order is None else key[order])
        if step is not None:
            order = step if order is None else order[step]
    return np.arange(len(keys[0])) if order is None else order


def _order(key: npt.NDArray[Any]) -> Ints | None:
    """The stable order of one key, None where it is sorted already."""
    if (key[1:] >= key[:-1]).all():
        return None
    row_bits = len(key).bit_length()
    low, high = int(key.min()), int(key.max())
    if (high - low).bit_length() + row_bits > WORD_BITS:
        return np.argsort(key, kind="stable")
    words = key.astype(np.int64)
    words -= low
    words <<= row_bits
    for start in range(0, len(key), BLOCK_ROWS):
        part = words[start : start + BLOCK_ROWS]
        part |= np.arange(start, start + len(part))
    words.sort()
    words &= (1 << row_bits) - 1
    return words
