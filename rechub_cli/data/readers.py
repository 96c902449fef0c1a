"""A user's own table: interactions with their side tables, checked, filtered, columnar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from rechub_cli.data.assemble import Events, assemble
from rechub_cli.data.cells import is_text
from rechub_cli.data.columns import FeatureColumn, NumberColumn, SplitColumn
from rechub_cli.data.files import TextFormat, find_files, format_of, text_format
from rechub_cli.data.filters import FilterOptions
from rechub_cli.data.ids import IdColumn
from rechub_cli.data.parquet import (
    parquet_schema,
    read_batches,
    read_parquet,
    refuse_mixed,
    refuse_type,
    require_columns,
)
from rechub_cli.data.raw import ITEM, RATING, SPLIT, TIMESTAMP, USER, WEIGHT, RawData
from rechub_cli.data.sequences import read_sequences
from rechub_cli.data.side_tables import read_side_table, side_rows
from rechub_cli.data.text import column_names as text_columns
from rechub_cli.data.text import read_text
from rechub_cli.data.times import TimeColumn
from rechub_cli.errors import ConfigError, DataError

AUTO = "auto"
ROLES = (USER, ITEM, TIMESTAMP, RATING, WEIGHT, SPLIT)
MAX_WEIGHT = 1e30
"""A batch's weighted losses add up in float32, which ends at 3.4e38."""
PARQUET_ROLES = {USER: "id", ITEM: "id", TIMESTAMP: "time", RATING: "number", WEIGHT: "number"}


@dataclass(frozen=True)
class ColumnNames:
    """Which column of the file plays which part; see conf/data/table.yaml, ``columns``."""

    user: str = "user_id"
    item: str = "item_id"
    timestamp: str | None = AUTO
    rating: str | None = None
    weight: str | None = None
    split: str | None = None
    context: tuple[str, ...] = ()


@dataclass(frozen=True)
class SideTable:
    """path: file, folder or glob. key: its key column; None is the interactions' column name."""

    path: str | Path
    key: str | None = None


def read_table(
    path: str | Path,
    *,
    format: str = AUTO,
    separator: str | None = None,
    header: bool = True,
    column_names: Sequence[str] | None = None,
    columns: ColumnNames | None = None,
    items: SideTable | None = None,
    users: SideTable | None = None,
    rating_threshold: float | None = None,
    filters: FilterOptions | None = None,
) -> RawData:
    """Read, check and filter a table of interactions; see conf/data/table.yaml for each option.

    format: auto, csv, tsv, parquet or sequences. separator: one character, None for the format's
    own. Side tables tell their format by their file names, else have that of the interactions.
    Raises ConfigError: options that do not fit together. DataError: unusable data, with file, row,
    column and cell.
    """
    columns = columns or ColumnNames()
    if rating_threshold is not None and columns.rating is None:
        raise ConfigError(
            f"data.rating_threshold={rating_threshold} needs a rating: name it in "
            "data.columns.rating"
        )
    files = find_files(path, key="data.path")
    kind = format_of(files, wanted=format, key="data.path")
    if kind == "sequences":
        events = _read_lines(files, columns, separator=separator)
    else:
        layout = None
        if kind != "parquet":
            layout = text_format(
                kind, separator=separator, column_names=None if header else column_names or ()
            )
        events = _read_columns(files, layout, columns)
    fallback = kind if kind in ("csv", "tsv", "parquet") else None
    side = {
        name: read_side_table(
            table.path,
            key=table.key or getattr(columns, name),
            setting=f"data.{name}s",
            name=name,
            fallback=fallback,
            separator=None if kind == "sequences" else separator,
        )
        for name, table in ((ITEM, items), (USER, users))
        if table is not None
    }
    return assemble(
        events,
        items=side.get(ITEM),
        users=side.get(USER),
        rating_threshold=rating_threshold,
        filters=filters or FilterOptions(),
    )


def read_memory(
    table: pa.Table,
    *,
    columns: ColumnNames,
    items: pa.Table | None = None,
    users: pa.Table | None = None,
    filters: FilterOptions | None = None,
) -> RawData:
    """Check and filter interactions that are in memory, with side tables keyed by the same names.

    Raises DataError: unusable data, with row, column and cell.
    """
    source = "the interactions"
    roles = _roles(columns, table.column_names)
    require_columns(source, table.schema, tuple(roles))
    for name, role in roles.items():
        refuse_type(source, table.schema, name, role=PARQUET_ROLES.get(role, "feature"))
    collectors = {name: _collector(role, from_text=False) for name, role in roles.items()}
    rows = read_batches(source, table.select(list(roles)).to_batches(), collectors)
    events = _finish({roles[n]: column for n, column in collectors.items()}, (), rows)
    return assemble(
        events,
        items=None if items is None else side_rows(items, key=columns.item, name=ITEM),
        users=None if users is None else side_rows(users, key=columns.user, name=USER),
        rating_threshold=None,
        filters=filters or FilterOptions(),
    )


def _read_columns(files: Sequence[Path], layout: TextFormat | None, names: ColumnNames) -> Events:
    """Interactions of CSV or TSV files (with a layout) or Parquet files (without)."""
    present = text_columns(files[0], layout) if layout else parquet_schema(files[0]).names
    roles = _roles(names, present)
    columns = {name: _collector(role, from_text=layout is not None) for name, role in roles.items()}
    if layout is None:
        coded = _check_schemas(files, roles)
        rows = sum(read_parquet(file, columns, coded=coded) for file in files)
    else:
        for file in files:
            text_columns(file, layout, required=_keys(roles))
        rows = sum(read_text(file, layout, columns) for file in files)
    return _finish({roles[name]: column for name, column in columns.items()}, files, rows)


def _roles(names: ColumnNames, present: Sequence[str]) -> dict[str, str]:
    """File column -> canonical name, of every column to read (context keeps its own name)."""
    wanted = {role: getattr(names, role) for role in ROLES}
    if wanted[TIMESTAMP] == AUTO:
        wanted[TIMESTAMP] = TIMESTAMP if TIMESTAMP in present else None
    pairs = [(name, role) for role, name in wanted.items() if name is not None]
    roles: dict[str, str] = {}
    for name, role in [*pairs, *((name, name) for name in names.context)]:
        if name in roles:
            raise ConfigError(
                f"data.columns names {name!r} twice, for {roles[name]} and for {role}; a column "
                "plays one part"
            )
        roles[name] = role
    reserved = [name for name in names.context if name in ROLES]
    if reserved:
        raise ConfigError(
            f"data.columns.context names {reserved[0]!r}, a name kept for another part (kept: "
            f"{', '.join(ROLES)}); rename that column"
        )
    return roles


def _collector(role: str, *, from_text: bool) -> Any:
    if role in (USER, ITEM):
        return IdColumn(from_text=from_text)
    if role == TIMESTAMP:
        return TimeColumn()
    if role == SPLIT:
        return SplitColumn()
    if role == WEIGHT:
        return NumberColumn(role, minimum=0, maximum=MAX_WEIGHT)
    if role == RATING:
        return NumberColumn(role)
    return FeatureColumn(from_text=from_text)


def _keys(roles: Mapping[str, str]) -> dict[str, str]:
    """The setting that says each column's name. roles: of the columns."""
    return {name: f"data.columns.{role}" for name, role in roles.items()}


def _check_schemas(files: Sequence[Path], roles: Mapping[str, str]) -> list[str]:
    """Check every file's columns and types. Returns the text columns to read dictionary-coded."""
    schemas = {file: parquet_schema(file, required=_keys(roles)) for file in files}
    for file, schema in schemas.items():
        for name, role in roles.items():
            refuse_type(file, schema, name, role=PARQUET_ROLES.get(role, "feature"))
    refuse_mixed(schemas, tuple(roles))
    first = schemas[files[0]]
    return [n for n, role in roles.items() if role in (USER, ITEM) and is_text(first.field(n).type)]


def _read_lines(files: Sequence[Path], names: ColumnNames, *, separator: str | None) -> Events:
    """Interactions of one-sequence-a-line files."""
    given = {role: getattr(names, role) for role in ROLES[2:]}
    extra = [f"columns.{r}={n}" for r, n in given.items() if n is not None and n != AUTO]
    if extra or names.context:
        raise ConfigError(
            f"data.{', '.join(extra) or 'columns.context'}: format=sequences has lines of a user "
            "and its items, no other column"
        )
    user, item = IdColumn(from_text=True), IdColumn(from_text=True)
    rows = sum(read_sequences(f, user=user, item=item, separator=separator) for f in files)
    return _finish({USER: user, ITEM: item}, files, rows)


def _finish(columns: Mapping[str, Any], files: Sequence[Path], rows: int) -> Events:
    if rows == 0:
        raise DataError(f"{', '.join(map(str, files[:3])) or 'the interactions'}: no data rows")
    values = {}
    for name, column in columns.items():
        values[name] = column.finish()
        # Arrow keeps what the column's batches took: of 20M rows a quarter of the peak.
        pa.default_memory_pool().release_unused()
    notes = [f"{n}: {note}" for n, c in columns.items() for note in getattr(c, "notes", ())]
    if TIMESTAMP not in columns:
        order = "" if len(files) < 2 else f" (files by name: {files[0].name} ... {files[-1].name})"
        notes.append(f"no timestamps: the order of the rows is the order of events{order}")
    return Events(
        user=values.pop(USER),
        item=values.pop(ITEM),
        columns=values,
        timestamp_unit=getattr(columns.get(TIMESTAMP), "unit", None),
        notes=tuple(notes),
    )
