"""Files to RawData: a CSV, TSV or Parquet file, a folder or a glob of them, sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from rechub_cli.data.columns import (
    PARSERS,
    guess_unit,
    parse_ids,
    parse_times,
    settle_ids,
)
from rechub_cli.data.files import (
    AUTO,
    FileTable,
    TextOptions,
    file_format,
    find_files,
    read_file,
)
from rechub_cli.data.filters import FilterOptions, apply_filters
from rechub_cli.data.raw import ITEM, RATING, SPLIT, TIMESTAMP, USER, WEIGHT, RawData
from rechub_cli.data.side_tables import read_side_table
from rechub_cli.data.text import first_line, looks_separated_by
from rechub_cli.errors import ConfigError, DataError
from rechub_cli.suggest import did_you_mean

@dataclass(frozen=True)
class ColumnNames:
    """The source's column for each meaning; see conf/data/table.yaml."""

    user: str = "user_id"
    item: str = "item_id"
    timestamp: str | None = AUTO
    rating: str | None = None
    weight: str | None = None
    split: str | None = None
    context: tuple[str, ...] = ()


@dataclass(frozen=True)
class SideTable:
    """path: file, folder or glob; None: no such table. key: its key column; None: the name of
    the interactions' column."""

    path: str | None = None
    key: str | None = None


def read_table(
    path: str,
    *,
    text: TextOptions = TextOptions(),
    columns: ColumnNames = ColumnNames(),
    items: SideTable = SideTable(),
    users: SideTable = SideTable(),
    rating_threshold: float | None = None,
    filters: FilterOptions = FilterOptions(),
) -> RawData:
    """Read, check and filter a table of interactions with its side tables.

    Raises DataError with file, column, row and cell for whatever cannot be used.
    """
    files = find_files(path, key="data.path")
    kinds = {file_format(file, text.format) for file in files}
    if len(kinds) > 1:
        raise DataError(f"{path} holds files of several formats ({', '.join(sorted(kinds))}); "
                        "name one kind by a glob such as 'folder/*.parquet'")
    kind = kinds.pop()
    read = [read_file(file, kind=kind, text=text) for file in files]
    wanted = _wanted(read[0].table, columns, kind, read[0].source.path)
    parts, units = [], set()
    for one in read:
        part, unit = _parse(one, wanted)
        parts.append(part)
        units.add(unit)
    table = _concatenate(parts, files)
    notes = [] if TIMESTAMP in table.column_names else [
        "no timestamps: the row order is taken for the order in time"
    ]
    table, counts = apply_filters(table, rating_threshold=rating_threshold, options=filters)
    unit = units.pop() if len(units) == 1 else None
    if TIMESTAMP in table.column_names and unit is None:
        unit = guess_unit(table[TIMESTAMP])
    sides = {}
    for name, column, side in ((ITEM, columns.item, items), (USER, columns.user, users)):
        if side.path is None:
            sides[name] = None
            continue
        sides[name], table, note = read_side_table(
            find_files(side.path, key=f"data.{name}s.path"),
            key=side.key or column,
            name=name,
            interactions=table,
            text=text,
        )
        if note:
            notes.append(note[0])
            counts[f"{name}s_without_features"] = note[1]
    return RawData(table, sides[ITEM], sides[USER], tuple(notes), counts, unit)


def _wanted(table: pa.Table, columns: ColumnNames, kind: str, path: Path) -> dict[str, str]:
    """Canonical name -> the source's column. Raises DataError for one that is missing."""
    if kind == "sequences":
        return {USER: USER, ITEM: ITEM}
    found = table.column_names
    timestamp = columns.timestamp
    if timestamp == AUTO:
        timestamp = TIMESTAMP if TIMESTAMP in found else None
    named = {
        USER: columns.user,
        ITEM: columns.item,
        TIMESTAMP: timestamp,
        RATING: columns.rating,
        WEIGHT: columns.weight,
        SPLIT: columns.split,
    }
    wanted = {name: column for name, column in named.items() if column is not None}
    for name, column in [*wanted.items(), *(("context", c) for c in columns.context)]:
        if column not in found:
            raise _missing_column(path, name, column, found, kind)
    for column in columns.context:
        if column in named:
            raise ConfigError(
                f"data.columns.context names {column!r}, a name of the product; rename the column"
            )
    return wanted | {column: column for column in columns.context}


def _missing_column(path: Path, name: str, column: str, found: Sequence[str], kind: str) -> DataError:
    hint = ""
    if kind in ("csv", "tsv") and len(found) == 1:
        hint = looks_separated_by(first_line(path), "," if kind == "csv" else "\t")
    elif kind != "parquet" and all(cell.lstrip("-").replace(".", "", 1).isdigit() for cell in found):
        hint = " The first line looks like data: set data.header=false and data.column_names."
    return DataError(
        f"{path}: no column {column!r} (data.columns.{name}); the file has {list(found)}."
        + (hint or did_you_mean(column, found))
    )


def _parse(one: FileTable, wanted: dict[str, str]) -> tuple[pa.Table, str | None]:
    out: dict[str, pa.Array] = {}
    unit = None
    missing = [c for c in wanted.values() if c not in one.table.column_names]
    if missing:
        raise DataError(
            f"{one.source.path}: no column {missing[0]!r}, which other files of the folder have; "
            f"it has {one.table.column_names}"
        )
    for name, column in wanted.items():
        values = one.table[column].combine_chunks()
        if name in (USER, ITEM):
            out[name] = parse_ids(values, column, one.source)
        elif name == TIMESTAMP:
            out[name], unit = parse_times(values, column, one.source)
        elif name in PARSERS:
            out[name] = PARSERS[name](values, column, one.source)
        else:
            out[name] = values
    return pa.table(out), unit


def _concatenate(parts: list[pa.Table], files: list[Path]) -> pa.Table:
    for name in parts[0].column_names:
        kinds = {str(part[name].type): file for part, file in zip(parts, files, strict=True)}
        if len(kinds) > 1:
            (kind_a, file_a), (kind_b, file_b) = list(kinds.items())[:2]
            raise DataError(
                f"column {name!r} is {kind_a} in {file_a} and {kind_b} in {file_b}: give it one type"
            )
    table = pa.concat_tables(parts)
    for name in (USER, ITEM):
        settled = settle_ids(table[name])
        table = table.set_column(table.column_names.index(name), name, settled)
    for name in table.column_names:
        # Context columns of text files come as text: numbers are read as numbers.
        if name not in (USER, ITEM, TIMESTAMP, RATING, WEIGHT, SPLIT):
            index = table.column_names.index(name)
            table = table.set_column(index, name, settle_context(table[name]))
    return table


def settle_context(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text as int64 or float64 where every cell is one."""
    if not pa.types.is_string(values.type):
        return values
    empty = pc.equal(values, "")
    cells = pc.if_else(empty, pa.scalar(None, pa.string()), values)
    for kind in (pa.int64(), pa.float64()):
        try:
            return cells.cast(kind)
        except pa.ArrowInvalid:
            continue
    return cells
