"""Lists of ids as one right-padded table. n rows, G the longest list."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from rechub_cli.data.cells import show
from rechub_cli.data.interactions import Ints
from rechub_cli.data.vocabulary import PADDING
from rechub_cli.errors import DataError

CELLS, FILLED = 1 << 28, 1 / 16
"""A table of more cells (2 GiB) with a smaller share of them in use is made by a few long lists."""


def pad_lists(ids: Ints, rows: Ints, owners: pa.Array, *, name: str) -> tuple[Ints, Ints]:
    """The table [n + 1, G], G >= 1, whose last row is padding, and the lengths [n + 1].

    ids: of all lists, one behind the other, int64. rows: the row of each, ascending. owners: a raw
    id a row, and name: the feature's, for messages.
    Raises DataError where a few long lists make the table far larger than all lists together.
    """
    lengths = np.bincount(rows, minlength=len(owners) + 1)
    longest, cells = int(lengths.max()), int(lengths.max()) * len(owners)
    if cells > CELLS and len(ids) < FILLED * cells:
        owner = show(owners[int(lengths.argmax())].as_py())
        raise DataError(
            f"{name}: the row of {owner} has a list of {longest:,} known values, and each of the "
            f"{len(owners):,} rows gets as many places: {8 * cells / 2**30:,.1f} GiB, "
            f"{len(ids) / cells:.1%} of it in use; shorten the list, or leave the column out "
            "(features.exclude)"
        )
    column = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    table = np.full((len(owners) + 1, max(longest, 1)), PADDING, dtype=np.int64)
    table[rows, column] = ids
    return table, lengths
