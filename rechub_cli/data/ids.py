"""Id columns: integers or text of any size, kept as codes into their distinct values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from rechub_cli.data.cells import CellError, cast, casts, decoded, first_bad, first_true, show

CANONICAL_INTEGER = "^(0|-?[1-9][0-9]{0,18})$"
MAX_EXACT_FLOAT = 2.0**53


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
        self.chunks: list[pa.DictionaryArray] = []
        self.notes: list[str] = []

    def parse(self, cells: pa.Array) -> pa.Array:
        """Distinct values and codes of a batch. Raises CellError: an empty or inexact id."""
        if pa.types.is_dictionary(cells.type) and cells.dictionary.null_count:
            cells = cells.dictionary_decode()
        if cells.null_count:
            row = first_true(cells.is_null())
            raise CellError(row or 0, "the id is empty; fill it or drop the row")
        if pa.types.is_dictionary(cells.type):
            cells = cells.cast(pa.dictionary(pa.int32(), cells.type.value_type))
            coded = pa.DictionaryArray.from_arrays(cells.indices, self._plain(cells.dictionary))
        else:
            coded = self._plain(cells).dictionary_encode()
        if pa.types.is_string(coded.dictionary.type):
            blank = pc.equal(pc.utf8_trim_whitespace(coded.dictionary), "").fill_null(True)
            row = first_true(blank.take(coded.indices)) if pc.any(blank).as_py() else None
            if row is not None:
                raise CellError(row, "the id is empty; fill it or drop the row")
        return coded

    def add(self, parsed: pa.Array) -> None:
        self.chunks.append(parsed)

    def finish(self) -> Ids:
        """All ids, int64 or string."""
        kinds = {chunk.dictionary.type for chunk in self.chunks}
        if len(kinds) > 1:
            self.chunks = [_with_text(chunk) for chunk in self.chunks]
        merged = pa.chunked_array(self.chunks).unify_dictionaries()
        self.chunks = []
        values = merged.chunk(0).dictionary
        codes = np.concatenate([chunk.indices.to_numpy() for chunk in merged.chunks])
        return Ids(integers_or_text(values) if self.guess else values, codes.astype(np.int32))

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


def integers_or_text(values: pa.Array) -> pa.Array:
    """int64 where every text is a canonical integer that fits ("007" and "+7" are not), else as is.

    values: distinct ids, string or int64.
    """
    if not pa.types.is_string(values.type):
        return values
    canonical = pc.match_substring_regex(values, CANONICAL_INTEGER)
    integers = cast(values, pa.int64()) if pc.all(canonical, min_count=1).as_py() else None
    return values if integers is None else integers


def _with_text(chunk: pa.DictionaryArray) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(chunk.indices, chunk.dictionary.cast(pa.string()))
