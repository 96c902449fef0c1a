"""Parquet files, read in batches of rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rechub_cli.data.cells import CellError, Column, add_batch, is_text
from rechub_cli.data.columns import is_feature
from rechub_cli.errors import DataError
from rechub_cli.suggest import did_you_mean, named_by

BATCH_ROWS = 1 << 19
NUMBERS_AND_TEXT = ("integers", "floating-point numbers", "text")
ALLOWED = {
    "id": "integers or text",
    "time": "numbers, timestamps, dates or ISO text",
    "number": "numbers",
    "feature": "numbers, text, booleans, times, or lists of them",
}


def parquet_schema(path: Path, *, required: Collection[str] = ()) -> pa.Schema:
    """The schema of a file. Raises DataError: unreadable, or a required column is missing.

    required: names, or names and the keys that say them.
    """
    try:
        schema = pq.read_schema(path).remove_metadata()
    except (pa.ArrowInvalid, OSError) as error:
        raise _broken(path, error) from None
    require_columns(path, schema, required)
    return schema


def require_columns(source: str | Path, schema: pa.Schema, required: Collection[str]) -> None:
    """Raise DataError where a required column is missing or named twice."""
    for name in required:
        if schema.names.count(name) != 1:
            found = "no column" if name not in schema.names else "several columns"
            raise DataError(
                f"{source}: {found} {name!r}; there are {', '.join(map(repr, schema.names))}."
                + did_you_mean(name, schema.names)
                + named_by(name, required)
            )


def read_parquet(path: Path, columns: Mapping[str, Column], *, coded: Sequence[str] = ()) -> int:
    """Read the named columns of one file into their collectors. Returns the number of rows.

    coded: text columns to keep dictionary-encoded on the way.
    Raises DataError: corrupt data, or the first unusable row with its column and cell.
    """
    return read_batches(path, _batches(path, list(columns), coded), columns)


def _batches(path: Path, wanted: list[str], coded: Sequence[str]) -> Iterator[pa.RecordBatch]:
    try:
        file = pq.ParquetFile(path, read_dictionary=list(coded), pre_buffer=False)
        yield from file.iter_batches(BATCH_ROWS, columns=wanted)
    except (pa.ArrowInvalid, OSError) as error:
        raise _broken(path, error) from None


def read_batches(
    source: str | Path, batches: Iterable[pa.RecordBatch], columns: Mapping[str, Column]
) -> int:
    """Read batches into collectors. Returns the number of rows.

    Raises DataError: the first unusable row, 1-based, with its column and cell.
    """
    rows = 0
    try:
        for batch in batches:
            add_batch(columns, batch)
            rows += batch.num_rows
    except CellError as bad:
        where = f"{source}, row {rows + bad.row + 1}, column {bad.column!r}"
        raise DataError(f"{where}: {bad}") from None
    return rows


def family(kind: pa.DataType) -> str:
    """What a type holds, the same word for types that may be mixed across files."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if is_text(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return "text"
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return "integers"
    if pa.types.is_floating(kind):
        return "floating-point numbers"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"lists of {family(kind.value_type)}"
    return str(kind)


def refuse_mixed(schemas: Mapping[Path, pa.Schema], columns: Sequence[str]) -> None:
    """Raise DataError where a column holds one family of types in one file, another in the next."""
    (first, reference), *others = schemas.items()
    for path, schema in others:
        for name in columns:
            there, here = reference.field(name).type, schema.field(name).type
            if family(there) != family(here):
                raise DataError(
                    f"{path}: column {name!r} holds {family(here)} ({here}), but {first.name} has "
                    f"{family(there)} ({there}); write all files with one type"
                )


def refuse_type(path: str | Path, schema: pa.Schema, name: str, *, role: str) -> None:
    """Raise DataError where a column's type cannot serve. role: id, time, number or feature."""
    kind = schema.field(name).type
    able = family(kind) in NUMBERS_AND_TEXT
    if role == "time":
        able = able or pa.types.is_timestamp(kind) or pa.types.is_date(kind)
    elif role == "feature":
        able = is_feature(kind)
    if not able:
        raise DataError(
            f"{path}: column {name!r} has the type {kind}; a {role} may hold {ALLOWED[role]}"
        )


def _broken(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path}: not a readable Parquet file, perhaps truncated ({str(error).strip()[:200]}); "
        "write or copy it again"
    )
