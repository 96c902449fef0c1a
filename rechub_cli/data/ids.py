"""Id columns: integers or text of any size, kept as codes into their distinct values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from rechub_cli.data.cells import CellError, cast, casts, decoded, first_bad, first_true, show

MAX_EXACT_FLOAT = 2.0**53
DENSE_SPAN = 4
"""Cells of a table over the range of integer ids, at most, to a row."""


@dataclass(frozen=True)
class Ids:
    """values: distinct ids, int64 or string. codes: int32 [n], the value of each row."""

    values: pa.Array
    codes: npt.NDArray[np.int32]

    def decode(self) -> pa.Array:
        """The id of each row."""
        return self.values.take(pa.array(self.codes))


class IdColumn:
    """Collects ids; see ``integers_or_text`` for when text becomes integers.

    from_text: whether the cells come from a text file, where nothing tells "7" from 7.
    """

    def __init__(self, *, from_text: bool) -> None:
        self.guess = from_text
        self.chunks: list[pa.Array] = []
        self.notes: list[str] = []

    def parse(self, cells: pa.Array) -> pa.Array:
        """A batch as int64, or as dictionary-encoded text.

        Raises CellError: an empty or inexact id.
        """
        if pa.types.is_dictionary(cells.type) and cells.dictionary.null_count:
            cells = cells.dictionary_decode()
        if cells.null_count:
            row = first_true(cells.is_null())
            raise CellError(row or 0, "the id is empty; fill it or drop the row")
        coded = None
        if pa.types.is_dictionary(cells.type):
            coded = cells.indices.cast(pa.int32())
            cells = cells.dictionary
        cells = self._plain(cells)
        if self.guess:
            cells = integers_or_text(cells)
        if pa.types.is_int64(cells.type):
            return cells if coded is None else cells.take(coded)
        text = (
            cells.dictionary_encode()
            if coded is None
            else pa.DictionaryArray.from_arrays(coded, cells)
        )
        blank = pc.equal(pc.utf8_trim_whitespace(text.dictionary), "").fill_null(True)
        row = first_true(blank.take(text.indices)) if pc.any(blank).as_py() else None
        if row is not None:
            raise CellError(row, "the id is empty; fill it or drop the row")
        return text

    def add(self, parsed: pa.Array) -> None:
        if len(parsed):  # no id tells no type
            self.chunks.append(parsed)

    def finish(self) -> Ids:
        """All ids, int64 or string."""
        chunks, self.chunks = self.chunks, []
        kinds = {pa.types.is_int64(chunk.type) for chunk in chunks}
        if kinds == {True}:
            return _index_integers(chunks)
        return _unify(map(_as_text, chunks) if True in kinds else chunks)

    def _plain(self, cells: pa.Array) -> pa.Array:
        """Cells as int64 or string."""
        cells, kind = decoded(cells), cells.type
        if pa.types.is_signed_integer(kind) or kind in (pa.uint8(), pa.uint16(), pa.uint32()):
            return cells.cast(pa.int64())
        if pa.types.is_floating(kind):
            return self._whole_floats(cells.cast(pa.float64()))
        if pa.types.is_uint64(kind) or pa.types.is_decimal(kind):
            return self._digits(cells)
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            text = cast(cells, pa.string())
            if text is None:
                row = first_bad(cells, lambda part: casts(part, pa.string()))
                raise CellError(row, f"{cells[row].as_py()!r} is not UTF-8 text")
            return text
        return cells

    def _digits(self, cells: pa.Array) -> pa.Array:
        self.guess = True
        if pa.types.is_decimal(cells.type):
            whole = cast(cells, pa.decimal128(38, 0))
            if whole is None:
                row = first_bad(cells, lambda part: casts(part, pa.decimal128(38, 0)))
                raise CellError(row, f"the id {cells[row].as_py()} is not whole; write ids as text")
            cells = whole
        return cells.cast(pa.string())

    def _whole_floats(self, cells: pa.Array) -> pa.Array:
        numbers = cells.to_numpy(zero_copy_only=False)
        bad = ~((np.abs(numbers) < MAX_EXACT_FLOAT) & (numbers == np.floor(numbers)))
        if bad.any():
            row = int(bad.argmax())
            raise CellError(
                row,
                f"the id {show(numbers[row])} is a floating-point number that is not whole or "
                "beyond 2^53, where neighbours collapse; write ids as integers or text",
            )
        note = "ids given as whole floating-point numbers were read as integers"
        if note not in self.notes:
            self.notes.append(note)
        return cells.cast(pa.int64())


def _index_integers(chunks: Sequence[pa.Array]) -> Ids:
    """int64 ids with their distinct values: by a table over their range where that is dense."""
    low = min(pc.min(chunk).as_py() for chunk in chunks)
    span = max(pc.max(chunk).as_py() for chunk in chunks) - low + 1
    if span > DENSE_SPAN * sum(map(len, chunks)):
        return _unify(pa.chunked_array(chunks).dictionary_encode().chunks)
    seen = np.zeros(span, dtype=bool)
    for chunk in chunks:
        seen[chunk.to_numpy() - low] = True
    place = np.cumsum(seen, dtype=np.int32) - np.int32(1)
    codes = np.concatenate([place[chunk.to_numpy() - low] for chunk in chunks])
    return Ids(pa.array(np.flatnonzero(seen) + low), codes)


def _unify(chunks: Iterable[pa.DictionaryArray]) -> Ids:
    merged = pa.chunked_array(chunks).unify_dictionaries()
    codes = np.concatenate([chunk.indices.to_numpy() for chunk in merged.chunks])
    return Ids(merged.chunk(0).dictionary, codes.astype(np.int32, copy=False))


def _as_text(chunk: pa.Array) -> pa.DictionaryArray:
    return chunk.cast(pa.string()).dictionary_encode() if pa.types.is_int64(chunk.type) else chunk


def integers_or_text(values: pa.Array) -> pa.Array:
    """int64 where every text is a canonical integer that fits ("007" and "+7" are not), else as is.

    values: string without nulls, or int64.
    """
    if not pa.types.is_string(values.type) or len(values) == 0:
        return values
    # Arrow tries every value before it refuses: the first one spares text that (1.2 s in 4M rows).
    first = cast(values.slice(0, 1), pa.int64())
    integers = None if first is None else cast(values, pa.int64())
    # The way back shows "007", " 7" and "0x7", which Arrow reads too.
    same = integers is not None and integers.cast(pa.string()).equals(values)
    return integers if same else values
