"""From Python: the loaders that the command line uses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from rechub_cli.checks import check_kind
from rechub_cli.data.cells import show
from rechub_cli.data.dataset import MatchData, SplitOptions, prepare
from rechub_cli.data.feature_options import FeatureOptions
from rechub_cli.data.filters import FilterOptions
from rechub_cli.data.parquet import ALLOWED
from rechub_cli.data.readers import AUTO, ColumnNames, SideTable, read_memory, read_table
from rechub_cli.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def load_interactions(
    source: pd.DataFrame | pa.Table | str | Path,
    *,
    user: str = "user_id",
    item: str = "item_id",
    timestamp: str | None = AUTO,
    weight: str | None = None,
    split_column: str | None = None,
    context: Sequence[str] = (),
    items: pd.DataFrame | pa.Table | str | Path | None = None,
    users: pd.DataFrame | pa.Table | str | Path | None = None,
    split: SplitOptions | None = None,
    features: FeatureOptions | None = None,
    filters: FilterOptions | None = None,
    embed_dim: int = 128,
    seed: int = 0,
) -> MatchData:
    """Read, split and encode interactions for ``MatchTrainer.fit``.

    source: a DataFrame, an Arrow table, or a path as in ``data.path``. user, item, timestamp: its
    columns (timestamp ``auto``: "timestamp" where it exists; None: the row order is the order).
    weight: the column of an event's weight in the loss, >= 0. split_column: that of train, valid or
    test, for ``SplitOptions("given")``. context: columns of an event that are user features of it.
    items, users: side tables, all paths or all in memory as ``source`` is, with the key column
    ``item`` / ``user``. split, features, filters: None is leave-one-out, all features, no filter.
    embed_dim: width of every embedding table. seed: of a user-disjoint split.

    Raises DataError for what cannot be used, ConfigError for what is no option.
    """
    for key, options, kind in (
        ("split", split, SplitOptions),
        ("features", features, FeatureOptions),
        ("filters", filters, FilterOptions),
    ):
        check_kind(key, options, kind | None, f"{kind.__name__}(...)")
    columns = ColumnNames(
        user, item, timestamp, weight=weight, split=split_column, context=tuple(context)
    )
    if isinstance(source, str | Path):
        raw = read_table(
            source,
            columns=columns,
            items=None if items is None else SideTable(_path(items)),
            users=None if users is None else SideTable(_path(users)),
            filters=filters,
        )
    else:
        raw = read_memory(
            _arrow(source, "the interactions"),
            columns=columns,
            items=None if items is None else _arrow(items, "the item table"),
            users=None if users is None else _arrow(users, "the user table"),
            filters=filters,
        )
    return prepare(
        raw,
        split=split or SplitOptions(),
        features=features or FeatureOptions(),
        embed_dim=embed_dim,
        seed=seed,
    )


def _path(table: Any) -> str | Path:
    if not isinstance(table, str | Path):
        raise DataError(
            f"a side table is a {type(table).__name__}, but the interactions are a path; give "
            "paths for all, or read the interactions first"
        )
    return table


def _arrow(source: Any, what: str) -> pa.Table:
    if isinstance(source, pa.Table):
        return source
    if isinstance(source, str | Path):
        raise DataError(
            f"{what} is the path {str(source)!r}, but the interactions are in memory; read it "
            "first, or give paths for all"
        )
    import pandas as pd  # noqa: PLC0415 - a third of a second

    if not isinstance(source, pd.DataFrame):
        raise DataError(
            f"{what}: found a {type(source).__name__}; allowed: a pandas DataFrame, an Arrow table "
            "or a path"
        )
    for name in source.columns[source.columns.duplicated()]:
        raise DataError(f"{what}: several columns are named {name!r}; rename all but one")
    try:
        return pa.Table.from_pandas(source, preserve_index=False)
    except pa.ArrowException:
        for name in source.columns:
            _refuse_mixed_cells(source[name].to_list(), what, name)
        raise


def _refuse_mixed_cells(cells: list[Any], what: str, name: str) -> None:
    """Raise DataError for the first cell that no type holds together with those before it."""
    if _fit_together(cells):
        return
    fit, count = 0, len(cells)
    while count - fit > 1:
        middle = (fit + count) // 2
        fit, count = (middle, count) if _fit_together(cells[:middle]) else (fit, middle)
    cell = cells[count - 1]
    kinds = sorted({type(other).__name__ for other in cells})
    raise DataError(
        f"{what}, row {count}, column {name!r}: {show(cell)} is of type {type(cell).__name__}, and "
        f"the column has {', '.join(kinds)}; a column holds one type: {ALLOWED['feature']} (ids "
        "become text by .astype(str))"
    )


def _fit_together(cells: list[Any]) -> bool:
    try:
        pa.array(cells, from_pandas=True)
    except pa.ArrowException:
        return False
    return True
