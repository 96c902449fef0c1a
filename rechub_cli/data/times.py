"""Timestamp columns: whole numbers, fractions, ISO text or Arrow times to int64 and a unit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
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

Ints = npt.NDArray[np.int64]
UNITS = ("s", "ms", "us", "ns")
UNIT_STARTS = (1e8, 1e11, 1e14, 1e17)
"""A number of at least this size counts s, ms, us or ns since 1970 (1e8 s is March 1973)."""
NUMBER, NAIVE, ZONED = "a number", "ISO text without a zone", "ISO text with a zone"
KINDS = {
    NUMBER: (pa.int64(), pa.float64()),
    NAIVE: (pa.timestamp("us"), pa.timestamp("ns")),
    ZONED: (pa.timestamp("us", "UTC"), pa.timestamp("ns", "UTC")),
}
"""What text may become, the preferred type first."""
MAX_WHOLE = 2.0**63


class TimeColumn:
    """Collects timestamps. The first cell decides whether the column holds numbers or ISO text.

    Whole numbers stay as they are. Fractions are scaled: seconds and unknown units by 1e6,
    milliseconds and microseconds by 1000. ISO text becomes microseconds (nanoseconds where it has
    such digits); without a zone it counts as UTC.
    """

    def __init__(self) -> None:
        self.kind: str | None = None
        self.unit: str | None = None
        self.chunks: list[pa.Array] = []
        self.notes: list[str] = []

    def parse(self, cells: pa.Array) -> pa.Array:
        """int64, float64 or Arrow timestamps of a batch. Raises CellError."""
        cells = decoded(cells)
        refuse_missing(cells, "timestamp")
        if is_text(cells.type):
            return self._parse_text(cells)
        if pa.types.is_date(cells.type):
            return cells.cast(pa.timestamp("s" if pa.types.is_date32(cells.type) else "ms"))
        if pa.types.is_timestamp(cells.type):
            return cells
        numbers = cast(cells, pa.int64()) if pa.types.is_integer(cells.type) else None
        return _finite(cells.cast(pa.float64(), safe=False), cells) if numbers is None else numbers

    def add(self, parsed: pa.Array) -> None:
        self.chunks.append(parsed)

    def finish(self) -> Ints:
        """All timestamps; sets ``unit`` and ``notes``."""
        chunks, self.chunks = self.chunks, []
        if pa.types.is_timestamp(chunks[0].type):
            self.unit = max((chunk.type.unit for chunk in chunks), key=UNITS.index)
            wanted = pa.timestamp(self.unit, chunks[0].type.tz)
            parts = [chunk.cast(wanted).cast(pa.int64()).to_numpy() for chunk in chunks]
            return np.concatenate(parts)
        if all(pa.types.is_int64(chunk.type) for chunk in chunks):
            whole = np.concatenate([chunk.to_numpy() for chunk in chunks])
            self._guess(whole)
            return whole
        return self._from_floats(np.concatenate([c.cast(pa.float64()).to_numpy() for c in chunks]))

    def _parse_text(self, cells: pa.Array) -> pa.Array:
        if self.kind is None:
            self.kind = _kind(cells[0].as_py())
        if self.kind is None:
            raise CellError(0, _no_time(cells[0].as_py()))
        targets = KINDS[self.kind]
        for candidates in (cells, pc.utf8_trim_whitespace(cells)):
            for target in targets:
                parsed = cast(candidates, target)
                if parsed is not None:
                    return _finite(parsed, cells) if self.kind == NUMBER else parsed
        row = first_bad(candidates, lambda part: any(casts(part, target) for target in targets))
        raise self._misfit(cells, row)

    def _misfit(self, cells: pa.Array, row: int) -> CellError:
        cell = cells[row].as_py()
        kind = _kind(cell)
        if kind is None or kind == self.kind:
            return CellError(row, _no_time(cell))
        return CellError(row, f"{show(cell)} is {kind}, but the first timestamp is {self.kind}")

    def _guess(self, whole: Ints) -> None:
        low, high = guess_unit(whole.min()), guess_unit(whole.max())
        self.unit = high
        if low is not None and low != high:
            self.notes.append(f"timestamps look mixed: some count {low}, some {high}")

    def _from_floats(self, numbers: npt.NDArray[np.float64]) -> Ints:
        self.unit = unit = guess_unit(np.abs(numbers).max())
        if (numbers == np.floor(numbers)).all():
            return numbers.astype(np.int64)
        factor = {None: 1_000_000, "s": 1_000_000, "ns": 1}.get(unit, 1000)
        self.unit = {None: None, "s": "us", "ms": "us"}.get(unit, "ns")
        self.notes.append(
            f"timestamps have fractions: they were multiplied by {factor:,}"
            + (f" and count {self.unit}" if self.unit else "")
        )
        return np.round(numbers * factor).astype(np.int64)


def guess_unit(largest: float) -> str | None:
    """The unit of a time since 1970 of this size; None below 1e8 (a position, a year)."""
    sizes = [unit for unit, start in zip(UNITS, UNIT_STARTS, strict=True) if largest >= start]
    return sizes[-1] if sizes else None


def _finite(numbers: pa.Array, cells: pa.Array) -> pa.Array:
    if pa.types.is_int64(numbers.type):
        return numbers
    row = first_true(pc.invert(pc.less(pc.abs(numbers), MAX_WHOLE)))
    if row is not None:
        raise CellError(row, f"{show(cells[row].as_py())} is no time: not finite or beyond 2^63")
    return numbers


def _kind(cell: str) -> str | None:
    one = pa.array([cell.strip()])
    kinds = [kind for kind, targets in KINDS.items() if any(casts(one, t) for t in targets)]
    return kinds[0] if kinds else None


def _no_time(cell: str) -> str:
    return (
        f"{show(cell)} is neither a number nor ISO text; allowed: 1700000000 (s, ms, us or ns), "
        "2024-05-31, 2024-05-31 12:00:00, 2024-05-31T12:00:00Z"
    )
