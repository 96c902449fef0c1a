"""Which kind of feature a side column is."""

from __future__ import annotations

from typing import Literal, get_args

import pyarrow as pa
import pyarrow.compute as pc

from rechub_cli.data.interactions import Ints

UNIQUE_SHARE, UNIQUE_LEAST = 0.5, 20
"""A text or integer side column with more distinct values a row, and more of them, than this is
an identifier."""

Kind = Literal["sparse", "dense", "multi"]
KINDS: tuple[Kind, ...] = get_args(Kind)


def guess_kind(column: str, values: pa.Array, counts: Ints, notes: list[str]) -> Kind | None:
    """By type; None for an identifier, and for lists such as ready-made vectors, with a note.

    counts: training rows of each value, int64 [n]; others tell nothing.
    """
    if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        if not pa.types.is_floating(values.type.value_type):
            return "multi"
        notes.append(
            f"{column}: left out, lists of numbers with fractions (features.types={{{column}: "
            "multi} takes each number for a category)"
        )
        return None
    if pa.types.is_floating(values.type) or pa.types.is_decimal(values.type):
        return "dense"
    trained = values.filter(pa.array(counts > 0))
    distinct, rows = pc.count_distinct(trained).as_py(), len(trained) - trained.null_count
    if distinct > max(UNIQUE_SHARE * rows, UNIQUE_LEAST):
        notes.append(
            f"{column}: left out, {distinct:,} distinct values in {rows:,} rows of training "
            f"(features.types={{{column}: sparse}} keeps it)"
        )
        return None
    return "sparse"
