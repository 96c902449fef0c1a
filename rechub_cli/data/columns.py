"""The other columns of an event: numbers, the given split, context and side features."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from rechub_cli.data.cells import (
    CellError,
    cast,
    casts,
    decoded,
    first_bad,
    first_true,
    is_text,
    refuse_missing,
    show,
)
from rechub_cli.data.ids import integers_or_text
from rechub_cli.suggest import did_you_mean

PARTS = ("train", "valid", "test")
MISSING = ("NaN", "nan", "NA", "N/A", "NULL", "null", "None")
"""Spellings of a missing value where every other cell is a number."""
PLAIN_NUMBER = r"^-?(0|[1-9][0-9]{0,14})(\.[0-9]*)?([eE][-+]?[0-9]{1,2})?$"
"""A number that float64 keeps; digits beyond that, or after a leading 0, mean a code."""


class NumberColumn:
    """Collects finite float64 numbers. what: for messages. minimum, maximum: what is allowed."""

    def __init__(
        self, what: str, *, minimum: float | None = None, maximum: float | None = None
    ) -> None:
        self.what = what
        self.minimum, self.maximum = minimum, maximum
        self.chunks: list[pa.Array] = []

    def parse(self, cells: pa.Array) -> pa.Array:
        """float64 of a batch. Raises CellError: missing, no number, not finite, not allowed."""
        cells = decoded(cells)
        refuse_missing(cells, self.what)
        trimmed = pc.utf8_trim_whitespace(cells) if is_text(cells.type) else cells
        if pa.types.is_integer(cells.type):
            trimmed = cells.cast(pa.float64(), safe=False)
        numbers = cast(trimmed, pa.float64())
        if numbers is None:
            row = first_bad(trimmed, lambda part: casts(part, pa.float64()))
            raise CellError(row, f"{show(cells[row].as_py())} is no number")
        bad = first_true(pc.invert(pc.is_finite(numbers)))
        if bad is not None:
            raise CellError(bad, f"{show(cells[bad].as_py())} is not a finite number")
        if self.minimum is not None:
            bad = first_true(pc.less(numbers, self.minimum))
            if bad is not None:
                cell = show(cells[bad].as_py())
                raise CellError(bad, f"the {self.what} {cell} is below {self.minimum:g}")
        if self.maximum is not None:
            bad = first_true(pc.greater(numbers, self.maximum))
            if bad is not None:
                cell = show(cells[bad].as_py())
                raise CellError(
                    bad,
                    f"the {self.what} {cell} is above {self.maximum:g}; only ratios count, so "
                    "divide the column by a constant",
                )
        return numbers

    def add(self, parsed: pa.Array) -> None:
        self.chunks.append(parsed)

    def finish(self) -> pa.ChunkedArray:
        """All numbers, float64."""
        return pa.chunked_array(self.chunks)


class SplitColumn:
    """Collects the part of each event: train, valid or test."""

    def __init__(self) -> None:
        self.chunks: list[pa.Array] = []

    def parse(self, cells: pa.Array) -> pa.Array:
        """string of a batch. Raises CellError: anything but the three parts."""
        cells = decoded(cells)
        row = first_true(pc.invert(pc.is_in(cells, pa.array(PARTS))))
        if row is not None:
            cell = cells[row].as_py()
            raise CellError(
                row,
                f"{show(cell)} is no part; allowed: {', '.join(PARTS)}."
                + did_you_mean(str(cell), PARTS),
            )
        return cells

    def add(self, parsed: pa.Array) -> None:
        self.chunks.append(parsed)

    def finish(self) -> pa.ChunkedArray:
        """All parts, string."""
        return pa.chunked_array(self.chunks)


class FeatureColumn:
    """Collects a feature of any type.

    from_text: the cells come from a text file: an empty one is null, and the whole column decides
    its type: canonical integers ("05201" is none) int64, else numbers float64, else string.
    """

    def __init__(self, *, from_text: bool) -> None:
        self.from_text = from_text
        self.chunks: list[pa.Array] = []

    def parse(self, cells: pa.Array) -> pa.Array:
        """A batch in one of the types of ``simple``, or dictionary-encoded text."""
        return cells.dictionary_encode() if self.from_text else simple(cells)

    def add(self, parsed: pa.Array) -> None:
        self.chunks.append(parsed)

    def finish(self) -> pa.ChunkedArray:
        """All values."""
        if not self.from_text:
            return pa.chunked_array(self.chunks)
        merged = pa.chunked_array(self.chunks).unify_dictionaries()
        values = infer(merged.chunk(0).dictionary)
        return pa.chunked_array([values.take(chunk.indices) for chunk in merged.chunks])


def infer(texts: pa.Array) -> pa.Array:
    """Distinct texts in their column's type; see FeatureColumn."""
    null = pa.scalar(None, pa.string())
    texts = pc.if_else(pc.equal(texts, ""), null, texts)
    numbers = pc.if_else(pc.is_in(texts, pa.array(MISSING)), null, texts)
    present = numbers.drop_null()
    if pa.types.is_int64(integers_or_text(present).type):
        return numbers.cast(pa.int64())
    plain = pc.all(pc.match_substring_regex(present, PLAIN_NUMBER), min_count=1).as_py()
    return numbers.cast(pa.float64()) if plain else texts


def is_feature(kind: pa.DataType) -> bool:
    """Whether ``simple`` reads a type: text, numbers, booleans, times and lists of them."""
    if pa.types.is_dictionary(kind) or _is_list(kind):
        kind = kind.value_type
    return bool(
        is_text(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_temporal(kind)
    )


def simple(cells: pa.Array) -> pa.Array:
    """Cells as int64, float64, string (booleans and times too) or a list of one of them."""
    cells = decoded(cells)
    if _is_list(cells.type):
        return cells.cast(pa.list_(_simple_type(cells.type.value_type)))
    return cells.cast(_simple_type(cells.type))


def _simple_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_integer(kind) and not pa.types.is_uint64(kind):
        return pa.int64()
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return pa.float64()
    return pa.string()


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )
