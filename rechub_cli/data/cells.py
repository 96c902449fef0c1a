"""Cells of one batch of a column: what makes one of them unusable, and which is the first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

MAX_SHOWN = 60


class CellError(Exception):
    """An unusable cell. row: its index in the batch. column: set by the batch."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(reason)
        self.row = row
        self.column = ""


class Column(Protocol):
    """Collects one column over all batches of all files."""

    def parse(self, cells: pa.Array) -> pa.Array:
        """Convert a batch. Raises CellError for its first unusable cell."""

    def add(self, parsed: pa.Array) -> None:
        """Keep a parsed batch."""


def show(cell: object) -> str:
    """A cell as messages quote it, cut to a readable length."""
    text = repr(cell) if isinstance(cell, str) else str(cell)
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "...'"


def parse_batch(columns: Mapping[str, Column], batch: pa.RecordBatch) -> dict[str, pa.Array]:
    """Parse every column of a batch. Raises the CellError of the first unusable row."""
    parsed, first = {}, None
    for name, column in columns.items():
        try:
            parsed[name] = column.parse(batch.column(name))
        except CellError as error:
            error = _earliest(column, batch.column(name), error)
            error.column = name
            if first is None or error.row < first.row:
                first = error
    if first is not None:
        raise first
    return parsed


def _earliest(column: Column, cells: pa.Array, error: CellError) -> CellError:
    """The first error of a batch: a column checks one thing at a time, so look before the row."""
    while error.row:
        try:
            column.parse(cells.slice(0, error.row))
        except CellError as earlier:
            error = earlier
        else:
            break
    return error


def add_batch(columns: Mapping[str, Column], batch: pa.RecordBatch) -> None:
    """Parse and keep every column of a batch. Raises the CellError of the first unusable row."""
    for name, cells in parse_batch(columns, batch).items():
        columns[name].add(cells)


def first_true(mask: pa.Array) -> int | None:
    """Index of the first true cell of a boolean array, None where there is none."""
    row = pc.index(mask, True).as_py()
    return None if row < 0 else int(row)


def first_bad(cells: pa.Array, works: Callable[[pa.Array], bool]) -> int:
    """Index of the first cell that ``works`` refuses, by halving; it must refuse one of them."""
    low, high = 0, len(cells)
    while high - low > 1:
        middle = (low + high) // 2
        if works(cells.slice(low, middle - low)):
            low = middle
        else:
            high = middle
    return low


def cast(cells: pa.Array, target: pa.DataType) -> pa.Array | None:
    """The cells in another type, None where one would lose anything."""
    try:
        return cells.cast(target)
    except pa.ArrowInvalid:
        return None


def casts(cells: pa.Array, target: pa.DataType) -> bool:
    """Whether every cell converts without loss."""
    return cast(cells, target) is not None


def decoded(cells: pa.Array) -> pa.Array:
    """Plain values of a dictionary or view array."""
    if pa.types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    if is_text(cells.type) and cells.type != pa.string():
        cells = cells.cast(pa.string())
    return cells


def is_text(kind: pa.DataType) -> bool:
    """Whether a type holds UTF-8 text."""
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def refuse_missing(cells: pa.Array, what: str) -> None:
    """Raise CellError for the first null or empty cell. what: ``"rating"``, for the message."""
    missing = pc.is_null(cells, nan_is_null=True)
    if is_text(cells.type):
        missing = pc.or_kleene(missing, pc.equal(cells, ""))
    row = first_true(missing)
    if row is not None:
        raise CellError(row, f"the {what} is missing; fill it or drop the row")
