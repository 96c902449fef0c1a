"""Item and user tables: one row a key, every other column a feature."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rechub_cli.data.cells import show
from rechub_cli.data.columns import FeatureColumn, is_feature
from rechub_cli.data.files import TextFormat, find_files, format_of, text_format
from rechub_cli.data.ids import IdColumn, Ids
from rechub_cli.data.parquet import (
    parquet_schema,
    read_batches,
    read_parquet,
    refuse_mixed,
    refuse_type,
    require_columns,
)
from rechub_cli.data.text import column_names, line_of_row, read_text
from rechub_cli.errors import DataError


@dataclass(frozen=True)
class SideRows:
    """A side table as read. ids: its key. features: a column each, in file order."""

    ids: Ids
    features: dict[str, pa.ChunkedArray]
    notes: tuple[str, ...] = ()

    def table(self, key: str, ids: pa.Array) -> pa.Table:
        """The table with its key column ``key``. ids: the distinct keys in the wanted type."""
        columns = {key: ids.take(pa.array(self.ids.codes)), **self.features}
        return pa.table(columns)


def read_side_table(
    path: str | Path,
    *,
    key: str,
    setting: str,
    name: str,
    fallback: str | None = None,
    separator: str | None = None,
) -> SideRows:
    """Read a side table.

    key: its key column. setting: ``data.items`` or ``data.users``. name: the key's name in the
    result, ``item`` or ``user``. fallback: the format of files whose names tell none.
    separator: of CSV files; None is a comma.
    Raises DataError: unusable files, an empty or repeated key, a feature called ``name``.
    """
    files = find_files(path, key=f"{setting}.path")
    kind = format_of(files, wanted="auto", key=f"{setting}.path", fallback=fallback)
    own = separator if kind == "csv" else None
    layout = None if kind == "parquet" else text_format(kind, separator=own)
    names, notes = _columns(files, layout, {key: f"{setting}.key"})
    _refuse_clash(files[0], names, key, name=name, setting=setting)
    columns = _collectors(names, key, from_text=layout is not None)
    rows = [
        read_parquet(file, columns) if layout is None else read_text(file, layout, columns)
        for file in files
    ]
    if sum(rows) == 0:
        raise DataError(f"{setting}.path={path}: no data rows")
    side = _finish(columns, key, notes)
    _refuse_repeats(side.ids, key, lambda row: _place(row, files, rows, layout))
    return side


def side_rows(table: pa.Table, *, key: str, name: str) -> SideRows:
    """A side table that is in memory. name: ``item`` or ``user``; see read_side_table."""
    source, setting = f"the {name} table", f"{name}s"
    require_columns(source, table.schema, (key,))
    refuse_type(source, table.schema, key, role="id")
    names, notes = _features(source, table.schema, key)
    require_columns(source, table.schema, names)
    _refuse_clash(source, names, key, name=name, setting=setting)
    columns = _collectors(names, key, from_text=False)
    if read_batches(source, table.select(names).to_batches(), columns) == 0:
        raise DataError(f"{source} has no rows")
    side = _finish(columns, key, notes)
    _refuse_repeats(side.ids, key, lambda row: f"{source}, row {row + 1}")
    return side


def _collectors(names: Sequence[str], key: str, *, from_text: bool) -> dict[str, Any]:
    return {
        name: IdColumn(from_text=from_text) if name == key else FeatureColumn(from_text=from_text)
        for name in names
    }


def _finish(columns: dict[str, Any], key: str, notes: Sequence[str]) -> SideRows:
    features = {name: column.finish() for name, column in columns.items() if name != key}
    return SideRows(columns[key].finish(), features, (*notes, *columns[key].notes))


def _refuse_clash(
    source: str | Path, names: Sequence[str], key: str, *, name: str, setting: str
) -> None:
    if name in names and name != key:
        raise DataError(
            f"{source}: the feature {name!r} has the name that the key {key!r} gets; rename it, "
            f"or set {setting}.key={name} where it is the key"
        )


def _columns(
    files: Sequence[Path], layout: TextFormat | None, required: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """The key and the features that every file must have, and notes on the columns left out.

    required: the key, and the setting that says it.
    """
    (key,) = required
    if layout is not None:
        names = column_names(files[0], layout, required=required)
        for file in files:
            column_names(file, layout, required={**dict.fromkeys(names, ""), **required})
        return names, []
    first = parquet_schema(files[0], required=required)
    refuse_type(files[0], first, key, role="id")
    names, notes = _features(files[0].name, first, key)
    schemas = {file: parquet_schema(file, required=names) for file in files}
    refuse_mixed(schemas, names)
    return names, notes


def _features(source: str, schema: pa.Schema, key: str) -> tuple[list[str], list[str]]:
    """The key and every column that can be a feature, and notes on the others."""
    names = [field.name for field in schema if field.name == key or is_feature(field.type)]
    notes = [
        f"{source}: column {field.name!r} is left out, its type {field.type} is no feature"
        for field in schema
        if field.name not in names
    ]
    return names, notes


def _refuse_repeats(ids: Ids, key: str, place: Callable[[int], str]) -> None:
    """Raise DataError for the first row whose key an earlier row has. place: words for a row."""
    order = np.argsort(ids.codes, kind="stable")
    repeats = order[1:][np.diff(ids.codes[order]) == 0]
    if len(repeats) == 0:
        return
    again = int(repeats.min())
    earlier = int(np.flatnonzero(ids.codes == ids.codes[again])[0])
    value = show(ids.values[int(ids.codes[again])].as_py())
    raise DataError(
        f"{place(again)}, column {key!r}: the key {value} "
        f"is already in {place(earlier)} (repeats in all: {len(repeats):,}); a side table holds "
        "one row a key"
    )


def _place(row: int, files: Sequence[Path], rows: Sequence[int], layout: TextFormat | None) -> str:
    ends = np.cumsum(rows)
    index = int(np.searchsorted(ends, row, side="right"))
    row -= int(ends[index] - rows[index])
    if layout is None:
        return f"{files[index]}, row {row + 1}"
    return f"{files[index]}, line {line_of_row(files[index], layout, row)}"


def share_type(events: pa.Array, keys: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Distinct ids of events and of a side table in one type: text where either is text."""
    if events.type == keys.type:
        return events, keys
    return events.cast(pa.string()), keys.cast(pa.string())


def count_missing(used: pa.Array, keys: pa.Array) -> int:
    """How many of the ids ``used`` by events a side table lacks."""
    return int(pc.sum(pc.invert(pc.is_in(used, keys))).as_py() or 0)
