"""Text tables: CSV, TSV, headerless files and one-sequence-a-line files, columnar throughout.

The good path never looks at a row; only a failure pays for a second pass that names its line.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from rechub_cli.data.raw import ITEM, USER
from rechub_cli.errors import DataError

SEPARATORS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar", ":": "colon", " ": "space"}
MISSING_TEXT = ("", "NULL", "null", "NaN", "nan", "NA", "N/A", "None", "\\N")
"""Cells that mean "no value" in side columns."""


def open_text(path: Path) -> IO[str]:
    """The file's text, decompressed where its name ends in .gz; bad bytes are kept as escapes."""
    raw: IO[bytes] = gzip.open(path) if path.suffix == ".gz" else path.open("rb")
    return io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="")


def read_text(
    path: Path,
    *,
    separator: str,
    column_names: Sequence[str] | None,
    infer: bool = False,
) -> pa.Table:
    """All columns of a file, as text (or, for side tables, with ``infer`` by their cells).

    separator: one character. column_names: of a headerless file; None: the first line has them.
    Raises DataError naming file and line for ragged lines, bad bytes and empty files.
    """
    names = list(column_names) if column_names else _header(path, separator)
    ragged: list[pacsv.InvalidRow] = []

    def note(row: pacsv.InvalidRow) -> str:
        ragged.append(row)
        return "skip"

    types = None if infer else dict.fromkeys(names, pa.string())
    try:
        table = pacsv.read_csv(
            path,
            read_options=pacsv.ReadOptions(
                column_names=names, skip_rows=0 if column_names else 1, block_size=8 << 20
            ),
            parse_options=pacsv.ParseOptions(
                delimiter=separator, invalid_row_handler=note, newlines_in_values=False
            ),
            convert_options=pacsv.ConvertOptions(
                column_types=types,
                strings_can_be_null=infer,
                null_values=list(MISSING_TEXT) if infer else [],
            ),
        )
    except pa.ArrowInvalid as error:
        _explain(path, separator, len(names), str(error))
        raise DataError(f"{path}: not readable as separated text: {error}") from None
    if ragged:
        _explain(path, separator, len(names), "ragged")
    if table.num_rows == 0:
        raise DataError(f"{path}: the file has no row" + ("" if column_names else " below its header"))
    return table


def read_sequences(path: Path, *, separator: str | None) -> pa.Table:
    """One line a user: ``user item item ...``; the order in the line is the order in time.

    separator: one character; None: any white space. Raises DataError for a line without items.
    """
    users: list[str] = []
    lengths: list[int] = []
    items: list[str] = []
    for number, line in numbered_lines(path):
        cells = line.split(separator)
        if not cells or not line.strip():
            continue
        if len(cells) == 1 or "" in cells:
            raise DataError(
                f"{path}, line {number}: {line[:80]!r} is no sequence; needed: a user, then its "
                "items, separated by " + ("white space" if separator is None else repr(separator))
            )
        users.append(cells[0])
        lengths.append(len(cells) - 1)
        items.extend(cells[1:])
    if not users:
        raise DataError(f"{path}: the file has no line")
    owner = pa.array(np.repeat(np.arange(len(users)), lengths))
    return pa.table({USER: pa.array(users).take(owner), ITEM: pa.array(items)})


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines without their ends, counted from 1. Raises DataError for bytes that are no UTF-8."""
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                line.encode("utf-8")
            except UnicodeEncodeError as error:
                raise DataError(
                    f"{path}, line {number}: byte {ord(line[error.start]) - 0xDC00:#x} at column "
                    f"{error.start + 1} is no UTF-8; convert the file, for example with "
                    "iconv -f latin1 -t utf-8"
                ) from None
            yield number, line.rstrip("\r\n")


def looks_separated_by(line: str, separator: str) -> str:
    """A hint where a header line looks separated by another character, or an empty text."""
    if separator in line:
        return ""
    for other, name in SEPARATORS.items():
        if other in line:
            return f" It looks separated by {other!r} ({name}): set data.separator={other!r}."
    return ""


def first_line(path: Path) -> str:
    """The file's first line. Raises DataError where it is empty."""
    for _, line in numbered_lines(path):
        return line
    raise DataError(f"{path}: the file is empty")


def _header(path: Path, separator: str) -> list[str]:
    names = next(csv.reader([first_line(path)], delimiter=separator), [])
    # RecBole writes name:type into the header.
    names = [_plain_name(name.strip()) for name in names]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise DataError(f"{path}, line 1: the header names {twice} more than once")
    return names


def _plain_name(name: str) -> str:
    stem, colon, kind = name.rpartition(":")
    return stem if colon and kind in ("token", "token_seq", "float", "float_seq") else name


def _explain(path: Path, separator: str, expected: int, cause: str) -> None:
    """Raise the DataError of the first bad line, where there is one."""
    for number, line in numbered_lines(path):
        if not line:
            continue
        cells = next(csv.reader([line], delimiter=separator), [])
        if len(cells) != expected:
            hint = looks_separated_by(line, separator) if len(cells) == 1 else ""
            raise DataError(
                f"{path}, line {number}: {len(cells)} fields where {expected} are expected: "
                f"{line[:80]!r}.{hint}"
            )
    if "ragged" in cause:
        raise DataError(f"{path}: a line has another number of fields than {expected}")
