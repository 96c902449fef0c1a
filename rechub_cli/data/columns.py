"""Cells to typed columns; a bad cell is named by file, column and row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rechub_cli.data.raw import SPLIT
from rechub_cli.errors import DataError

CANONICAL_INT = r"^(0|-?[1-9][0-9]{0,18})$"
SPLIT_VALUES = ("train", "valid", "test")
UNITS = ((1e11, "s"), (1e14, "ms"), (1e17, "us"), (float("inf"), "ns"))
"""Upper bound of a plausible time in each unit: 1e11 seconds is the year 5138."""


@dataclass(frozen=True)
class Source:
    """Where cells come from. first_line: the line of row 0 in a text file; None: row numbers."""

    path: Path
    first_line: int | None = None

    def bad(self, column: str, row: int, cell: Any, needed: str) -> DataError:
        at = f"row {row + 1}" if self.first_line is None else f"line {row + self.first_line}"
        return DataError(f"{self.path}, column {column!r}, {at}: found {cell!r}; needed: {needed}")

    def first_bad(self, column: str, values: pa.Array, good: pa.Array, needed: str) -> DataError:
        """The error of the first cell whose flag in ``good`` is false or null."""
        row = pc.index(pc.fill_null(good, False), False).as_py()
        return self.bad(column, row, values[row].as_py(), needed)


def parse_ids(values: pa.Array, column: str, source: Source) -> pa.Array:
    """Ids as int64 or string. Text is int64 only where every cell is a canonical integer, so that
    "007" stays what it is. Raises DataError for an empty id."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        values, kind = values.cast(kind.value_type), kind.value_type
    if pa.types.is_null(kind) or values.null_count:
        raise source.first_bad(column, values, values.is_valid(), "an id in every row")
    if pa.types.is_integer(kind):
        return _to_int64(values)
    if pa.types.is_floating(kind):
        raise DataError(
            f"{source.path}, column {column!r}: ids are {kind}, which cannot hold large integers "
            "exactly; store them as integers or strings"
        )
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise DataError(
            f"{source.path}, column {column!r}: ids are {kind}; allowed: integers or strings"
        )
    values = values.cast(pa.string())
    filled = pc.not_equal(pc.utf8_trim_whitespace(values), "")
    if not pc.all(filled).as_py():
        raise source.first_bad(column, values, filled, "an id, not an empty cell")
    return values


def settle_ids(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text ids as int64 where every one of them is a canonical integer that fits."""
    if not pa.types.is_string(values.type):
        return values
    distinct = values.unique()
    if not pc.all(pc.match_substring_regex(distinct, CANONICAL_INT)).as_py():
        return values
    try:
        return values.cast(pa.int64())
    except pa.ArrowInvalid:
        return values


def _to_int64(values: pa.Array) -> pa.Array:
    try:
        return values.cast(pa.int64())
    except pa.ArrowInvalid:
        return values.cast(pa.string())


def parse_numbers(
    values: pa.Array, column: str, source: Source, *, needed: str = "a number"
) -> pa.Array:
    """float64, finite, in every row."""
    numbers = _cast_cells(values, column, source, pa.float64(), needed)
    finite = pc.is_finite(numbers)
    if not pc.all(pc.fill_null(finite, False)).as_py():
        raise source.first_bad(column, values, finite, needed)
    return numbers


def parse_weights(values: pa.Array, column: str, source: Source) -> pa.Array:
    numbers = parse_numbers(values, column, source)
    good = pc.greater_equal(numbers, 0)
    if not pc.all(good).as_py():
        raise source.first_bad(column, values, good, "a weight >= 0")
    return numbers


def parse_split(values: pa.Array, column: str, source: Source) -> pa.Array:
    text = values.cast(pa.string())
    good = pc.is_in(text, pa.array(SPLIT_VALUES))
    if not pc.all(pc.fill_null(good, False)).as_py():
        raise source.first_bad(column, values, good, "train, valid or test")
    return text


def parse_times(values: pa.Array, column: str, source: Source) -> tuple[pa.Array, str | None]:
    """int64 and the unit where the column itself names it (dates and ISO text: us).

    Integers are kept. Whole floats too; fractions of seconds become microseconds.
    """
    needed = "an integer time (s, ms, us, ns) or ISO text such as 2024-05-31T12:00:00"
    if values.null_count:
        raise source.first_bad(column, values, values.is_valid(), needed)
    kind = values.type
    if pa.types.is_timestamp(kind):
        return values.cast(pa.int64()), kind.unit
    if pa.types.is_date(kind):
        return values.cast(pa.timestamp("us")).cast(pa.int64()), "us"
    if pa.types.is_integer(kind):
        return values.cast(pa.int64()), None
    if pa.types.is_floating(kind):
        return _float_times(parse_numbers(values, column, source, needed=needed))
    text = pc.utf8_trim_whitespace(values.cast(pa.string()))
    for attempt in (_int_times, _decimal_times, _iso_times):
        try:
            return attempt(text)
        except pa.ArrowInvalid:
            continue
    raise _first_bad_time(text, column, source, needed)


def _int_times(text: pa.Array) -> tuple[pa.Array, str | None]:
    return text.cast(pa.int64()), None


def _decimal_times(text: pa.Array) -> tuple[pa.Array, str | None]:
    return _float_times(text.cast(pa.float64()))


def _float_times(numbers: pa.Array) -> tuple[pa.Array, str | None]:
    values = numbers.to_numpy(zero_copy_only=False)
    if not np.isfinite(values).all():
        raise pa.ArrowInvalid("not finite")
    if (values == np.floor(values)).all():
        return pa.array(values.astype(np.int64)), None
    return pa.array(np.rint(values * 1e6).astype(np.int64)), "us"


def _iso_times(text: pa.Array) -> tuple[pa.Array, str | None]:
    try:
        times = text.cast(pa.timestamp("us"))
    except pa.ArrowInvalid:
        times = text.cast(pa.timestamp("us", tz="UTC"))
    return times.cast(pa.int64()), "us"


def _first_bad_time(text: pa.Array, column: str, source: Source, needed: str) -> DataError:
    """By halving: the shortest start of the column that no parser takes ends in the bad cell."""
    good, bad = 0, len(text)
    while bad - good > 1:
        middle = (good + bad) // 2
        if any(_takes(attempt, text[:middle]) for attempt in (_int_times, _iso_times)):
            good = middle
        else:
            bad = middle
    return source.bad(column, bad - 1, text[bad - 1].as_py(), needed)


def _takes(attempt: Callable[[pa.Array], object], text: pa.Array) -> bool:
    try:
        attempt(text)
    except pa.ArrowInvalid:
        return False
    return True


def guess_unit(times: pa.ChunkedArray) -> str:
    """The unit in which the largest time is before the year 5138."""
    largest = abs(pc.max(times).as_py())
    return next(unit for bound, unit in UNITS if largest < bound)


def _cast_cells(
    values: pa.Array, column: str, source: Source, kind: pa.DataType, needed: str
) -> pa.Array:
    try:
        if pa.types.is_string(values.type):
            values = pc.utf8_trim_whitespace(values)
        return values.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        for row, cell in enumerate(values.to_pylist()):
            if not _is_number(cell):
                raise source.bad(column, row, cell, needed) from None
        raise


def _is_number(cell: object) -> bool:
    try:
        float(str(cell))
    except ValueError:
        return False
    return "_" not in str(cell)


PARSERS = {"rating": parse_numbers, "weight": parse_weights, SPLIT: parse_split}
