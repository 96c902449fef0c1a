"""Why a text file cannot be read: a second, exact pass that runs only after a failure."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from rechub_cli.data.cells import CellError, Column, parse_batch, show
from rechub_cli.data.files import TextFormat
from rechub_cli.errors import DataError
from rechub_cli.suggest import did_you_mean, named_by

CANDIDATES = (",", ";", "\t", "|", ":", " ")
CHUNK_ROWS = 20_000


def explain(
    path: Path,
    layout: TextFormat,
    columns: Mapping[str, Column],
    *,
    lines: io.TextIOWrapper,
    error: Exception,
) -> DataError:
    """The error of the first unusable line. error: what the fast pass said, kept as last resort."""
    reader = csv.reader(lines, delimiter=layout.separator)
    rows: list[list[str]] = []
    numbers: list[int] = []
    names = list(layout.column_names or next(reader))
    places = {name: names.index(name) for name in columns}
    try:
        for record in reader:
            if not record:
                continue
            problem = _ragged(record, names, layout) or _undecodable(record, places)
            if problem is None:
                rows.append(record)
                numbers.append(reader.line_num)
            if problem is not None or len(rows) == CHUNK_ROWS:
                _check(path, columns, places, rows, numbers)
                rows, numbers = [], []
            if problem is not None:
                return DataError(f"{path}, line {reader.line_num}: {problem}")
        _check(path, columns, places, rows, numbers)
    except DataError as found:
        return found
    except (csv.Error, OSError) as broken:
        return _unreadable(path, reader.line_num, broken)
    return DataError(f"{path}: {str(error).splitlines()[0]}")


def check_required(
    path: Path, layout: TextFormat, names: Sequence[str], required: Collection[str]
) -> None:
    """Raise DataError where a required column is missing or named twice."""
    missing = [name for name in required if name not in names]
    if not missing:
        for name in required:
            if list(names).count(name) > 1:
                raise DataError(f"{path}, line 1: {names.count(name)} columns are named {name!r}")
        return
    where = f"{path}: no column {missing[0]!r}"
    hint = did_you_mean(missing[0], names) + named_by(missing[0], required)
    if layout.column_names is None:
        other = _better_separator(layout.separator.join(names), layout, required)
        if other is not None:
            raise DataError(f"{where}; {_separator_advice(other)}")
        if any(_is_number(name) for name in names):
            raise DataError(
                f"{where}: line 1 looks like data ({', '.join(map(show, names[:4]))}), not like a "
                "header; set data.header=false and data.column_names=[...]"
            )
    raise DataError(f"{where}; there are {', '.join(map(repr, names))}.{hint}")


def check_header(path: Path, layout: TextFormat, first: Sequence[str]) -> None:
    """Raise DataError where the first line does not fit ``column_names``."""
    names = layout.column_names or ()
    if tuple(first) == names:
        raise DataError(f"{path}, line 1 names the columns; set data.header=true")
    if len(first) == len(names):
        return
    other = _better_separator(layout.separator.join(first), layout, ())
    if len(first) == 1 and other is not None:
        raise DataError(f"{path}, line 1 has 1 field; {_separator_advice(other)}")
    raise DataError(
        f"{path}, line 1: {len(first)} fields, but data.column_names has {len(names)} "
        f"({', '.join(names)}); name every column"
    )


def refuse_encoding(record: Sequence[str], path: Path, *, line: int) -> None:
    """Raise DataError where a field holds bytes that are not UTF-8."""
    problem = _undecodable(record, {name: i for i, name in enumerate(record)})
    if problem is not None:
        raise DataError(f"{path}, line {line}: {problem}")


def _check(
    path: Path,
    columns: Mapping[str, Column],
    places: Mapping[str, int],
    rows: list[list[str]],
    numbers: list[int],
) -> None:
    if not rows:
        return
    cells = [pa.array([row[place] for row in rows], pa.string()) for place in places.values()]
    try:
        parse_batch(columns, pa.RecordBatch.from_arrays(cells, names=list(places)))
    except CellError as bad:
        where = f"{path}, line {numbers[bad.row]}, column {bad.column!r}"
        raise DataError(f"{where}: {bad}") from None


def _ragged(record: list[str], names: Sequence[str], layout: TextFormat) -> str | None:
    if len(record) == len(names):
        return None
    line = show(layout.separator.join(record))
    return (
        f"{len(record)} field{'s' * (len(record) != 1)} where {len(names)} are expected "
        f"({', '.join(names)}): {line}; quote fields that hold the separator"
    )


def _undecodable(record: Sequence[str], places: Mapping[str, int]) -> str | None:
    for name, place in places.items():
        try:
            record[place].encode()
        except UnicodeEncodeError as error:
            byte = ord(record[place][error.start]) - 0xDC00
            shown = record[place].encode(errors="surrogateescape").decode("latin-1")
            guess = "UTF-16" if shown[:2] in ("\xff\xfe", "\xfe\xff") else "LATIN1"
            return (
                f"column {show(name.encode(errors='replace').decode())}: byte 0x{byte:02x} is not "
                f"UTF-8 (as Latin-1 the cell reads {show(shown)}); convert the file, "
                f"e.g. iconv -f {guess} -t UTF-8"
            )
    return None


def _unreadable(path: Path, line: int, error: Exception) -> DataError:
    if isinstance(error, csv.Error):
        return DataError(
            f"{path}, line {line}: {error}: probably a quote is opened and never closed"
        )
    return DataError(f"{path}, after line {line}: the file is truncated or corrupt ({error})")


def _better_separator(line: str, layout: TextFormat, required: Collection[str]) -> str | None:
    """Another separator that finds every required name, or just more fields."""
    for other in CANDIDATES:
        fields = next(csv.reader([line], delimiter=other), [])
        if other != layout.separator and len(fields) > 1 and set(required) <= set(fields):
            return other
    return None


def _separator_advice(other: str) -> str:
    if other == "\t":
        return "the line looks separated by tabs: set data.format=tsv"
    typed = f"""'data.separator="{other}"'"""  # so that neither the shell nor Hydra reads it
    return f"the line looks separated by {other!r}: set {typed}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
