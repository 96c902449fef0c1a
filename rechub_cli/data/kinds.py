"""Which kind of feature a side column is."""

from __future__ import annotations

from typing import Literal, get_args

import pyarrow as pa
import pyarrow.compute as pc

from rechub_cli.data.cells import is_text, show
from rechub_cli.data.columns import PLAIN_NUMBER
from rechub_cli.data.interactions import Ints

UNIQUE_SHARE, UNIQUE_LEAST = 0.5, 20
"""A text or integer side column with more distinct values a row, and more of them, than this is
an identifier."""

ODD_SHARE = 0.2
"""Most distinct values of a column of numbers that are none, for a note on them."""

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
    if is_text(values.type):
        notes += _odd_ones(column, pc.unique(trained.drop_null()))
    distinct, rows = pc.count_distinct(trained).as_py(), len(trained) - trained.null_count
    if distinct > max(UNIQUE_SHARE * rows, UNIQUE_LEAST):
        notes.append(
            f"{column}: left out, {distinct:,} distinct values in {rows:,} rows of training "
            f"(features.types={{{column}: sparse}} keeps it)"
        )
        return None
    return "sparse"


def _odd_ones(column: str, texts: pa.Array) -> list[str]:
    """A note where all but a few distinct texts are numbers, some with fractions."""
    plain = pc.match_substring_regex(texts, PLAIN_NUMBER)
    numbers, others = texts.filter(plain), texts.filter(pc.invert(plain))
    fractions = pc.any(pc.match_substring(numbers, ".")).as_py()
    if not fractions or not 0 < len(others) <= ODD_SHARE * len(texts):
        return []
    few, first = f"{len(others):,} of {len(texts):,}", show(others[0].as_py())
    return [
        f"{column}: read as categories, as {few} distinct values are no numbers, {first} first; "
        "where such cells are empty it is read as numbers"
    ]
