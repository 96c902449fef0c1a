"""CSV and TSV files (also .gz), read in blocks by Arrow; any failure is then looked up exactly."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from rechub_cli.data.cells import CellError, Column, add_batch
from rechub_cli.data.diagnose import (
    check_header,
    check_required,
    explain,
    refuse_encoding,
)
from rechub_cli.data.files import TextFormat
from rechub_cli.errors import DataError

GZIP = b"\x1f\x8b"
BLOCK_BYTES = 8 << 20


def column_names(path: Path, layout: TextFormat, *, required: Collection[str] = ()) -> list[str]:
    """The column names of a file. required: names that must be among them, exactly once, or those
    and the keys that say them.

    Raises DataError: a missing or doubled column, a wrong separator, a header that is data.
    """
    with path.open("rb") as file:
        if file.read(len(GZIP)) == GZIP and path.suffix != ".gz":
            raise DataError(f"{path} is compressed by gzip: call it {path.name}.gz")
    with open_text(path) as lines:
        try:
            first = next(csv.reader(lines, delimiter=layout.separator), [])
        except (OSError, csv.Error) as error:
            raise DataError(f"{path}, line 1: {error}") from None
    refuse_encoding(first, path, line=1)
    names = list(layout.column_names or first)
    if layout.column_names is not None:
        check_header(path, layout, first)
    check_required(path, layout, names, required)
    return names


def read_text(path: Path, layout: TextFormat, columns: Mapping[str, Column]) -> int:
    """Read the named columns of one file into their collectors. Returns the number of rows.

    Raises DataError: the first unusable line, with its column and cell.
    """
    rows = 0
    try:
        for batch in _batches(path, layout, list(columns)):
            add_batch(columns, batch)
            rows += batch.num_rows
    except (CellError, pa.ArrowInvalid, OSError) as error:
        with open_text(path) as lines:
            found = explain(path, layout, columns, lines=lines, error=error)
        raise found from None
    return rows


def open_text(path: Path) -> io.TextIOWrapper:
    """Lines of a file, decompressed; bytes that are not UTF-8 become lone surrogates."""
    return io.TextIOWrapper(
        pa.input_stream(path), encoding="utf-8-sig", errors="surrogateescape", newline=""
    )


def line_of_row(path: Path, layout: TextFormat, row: int) -> int:
    """The line on which data row ``row`` (0-based) ends."""
    with open_text(path) as lines:
        reader = csv.reader(lines, delimiter=layout.separator)
        row += layout.column_names is None
        for record in reader:
            row -= bool(record)
            if row < 0:
                break
        return reader.line_num


def _batches(path: Path, layout: TextFormat, wanted: list[str]) -> Iterator[pa.RecordBatch]:
    names = list(layout.column_names) if layout.column_names is not None else None
    with pa.input_stream(path) as stream:
        yield from pa.csv.open_csv(
            stream,
            read_options=pa.csv.ReadOptions(block_size=BLOCK_BYTES, column_names=names),
            parse_options=pa.csv.ParseOptions(delimiter=layout.separator, newlines_in_values=True),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(wanted, pa.string()),
                include_columns=wanted,
                strings_can_be_null=False,
            ),
        )
