"""From Python: the loaders that the command line uses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from rechub_cli.data.columns import Source, guess_unit, parse_ids, parse_times
from rechub_cli.data.dataset import MatchData, SplitOptions, prepare
from rechub_cli.data.encode import FeatureOptions
from rechub_cli.data.files import AUTO
from rechub_cli.data.filters import FilterOptions, apply_filters
from rechub_cli.data.raw import ITEM, TIMESTAMP, USER, RawData
from rechub_cli.data.readers import ColumnNames, SideTable, read_table
from rechub_cli.errors import DataError
from rechub_cli.suggest import did_you_mean

if TYPE_CHECKING:
    import pandas as pd


def load_interactions(
    source: pd.DataFrame | pa.Table | str | Path,
    *,
    user: str = "user_id",
    item: str = "item_id",
    timestamp: str | None = AUTO,
    items: pd.DataFrame | pa.Table | str | Path | None = None,
    users: pd.DataFrame | pa.Table | str | Path | None = None,
    split: SplitOptions = SplitOptions(),
    features: FeatureOptions = FeatureOptions(),
    filters: FilterOptions = FilterOptions(),
    embed_dim: int = 64,
    seed: int = 0,
) -> MatchData:
    """Read, split and encode interactions for ``MatchTrainer.fit``.

    source: a DataFrame, an Arrow table, or a path as in ``data.path``. user, item, timestamp:
    its columns (timestamp ``auto``: "timestamp" where it exists; None: the row order is the order). items,
    users: side tables of the same kind as ``source``, with the key column ``item`` / ``user``.
    embed_dim: width of every embedding table. seed: of a user-disjoint split.

    Raises DataError for what cannot be used.
    """
    if isinstance(source, (str, Path)):
        raw = read_table(
            str(source),
            columns=ColumnNames(user, item, timestamp),
            items=SideTable(None if items is None else str(items)),
            users=SideTable(None if users is None else str(users)),
            filters=filters,
        )
    else:
        raw = _in_memory(source, user, item, timestamp, items, users, filters)
    return prepare(raw, split=split, features=features, embed_dim=embed_dim, seed=seed)


def _in_memory(
    source: Any,
    user: str,
    item: str,
    timestamp: str | None,
    items: Any,
    users: Any,
    filters: FilterOptions,
) -> RawData:
    table, here = _arrow(source), Source(Path("DataFrame"))
    if timestamp == AUTO:
        timestamp = TIMESTAMP if TIMESTAMP in table.column_names else None
    out = {
        USER: parse_ids(_column(table, user), user, here),
        ITEM: parse_ids(_column(table, item), item, here),
    }
    unit = None
    if timestamp is not None:
        out[TIMESTAMP], unit = parse_times(_column(table, timestamp), timestamp, here)
    interactions, counts = apply_filters(pa.table(out), rating_threshold=None, options=filters)
    if timestamp is not None and unit is None:
        unit = guess_unit(interactions[TIMESTAMP])
    sides = [
        None if side is None else _side(side, key, name, interactions)
        for side, key, name in ((items, item, ITEM), (users, user, USER))
    ]
    notes = () if timestamp else ("no timestamps: the row order is taken for the order in time",)
    return RawData(interactions, sides[0], sides[1], notes, counts, unit)


def _arrow(source: Any) -> pa.Table:
    if isinstance(source, pa.Table):
        return source
    return pa.Table.from_pandas(source, preserve_index=False)


def _column(table: pa.Table, name: str) -> pa.Array:
    if name not in table.column_names:
        raise DataError(
            f"no column {name!r}; the table has {table.column_names}."
            + did_you_mean(name, table.column_names)
        )
    return table[name].combine_chunks()


def _side(source: Any, key: str, name: str, interactions: pa.Table) -> pa.Table:
    table = _arrow(source)
    ids = parse_ids(_column(table, key), key, Source(Path(f"{name}s")))
    if ids.type != interactions[name].type:
        raise DataError(
            f"{name}s: the key {key!r} is {ids.type}, the interactions' is "
            f"{interactions[name].type}: give both one type"
        )
    if len(ids.unique()) < len(ids):
        raise DataError(f"{name}s: the key {key!r} is not unique: one row a key")
    return table.drop_columns([key]).add_column(0, name, ids)
