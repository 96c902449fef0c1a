"""Row filters, in the order in which they run: rating, duplicates, k-core."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from rechub_cli.data.raw import ITEM, RATING, TIMESTAMP, USER
from rechub_cli.errors import ConfigError, DataError


@dataclass(frozen=True)
class FilterOptions:
    """min_user_events, min_item_events: the k-core, 0 is off. duplicates: all, first or last."""

    min_user_events: int = 0
    min_item_events: int = 0
    duplicates: str = "all"


def apply_filters(
    table: pa.Table, *, rating_threshold: float | None, options: FilterOptions
) -> tuple[pa.Table, dict[str, int]]:
    """The rows that stay, in their order, and how many each filter removed.

    Raises DataError where none stays.
    """
    counts = {"rows_read": table.num_rows}
    if rating_threshold is not None:
        if RATING not in table.column_names:
            raise ConfigError(
                f"data.rating_threshold={rating_threshold} needs a rating: name its column in "
                "data.columns.rating"
            )
        before = table.num_rows
        table = table.filter(pc.greater_equal(table[RATING], rating_threshold))
        counts["rows_below_rating"] = before - table.num_rows
    if table.num_rows and options.duplicates != "all":
        before = table.num_rows
        table = table.filter(pa.array(keep_one(table, options.duplicates)))
        counts["rows_duplicate"] = before - table.num_rows
    if table.num_rows and max(options.min_user_events, options.min_item_events) > 1:
        before = table.num_rows
        user, item = _codes(table)
        table = table.filter(
            pa.array(
                core_rows(
                    user,
                    item,
                    min_user=options.min_user_events,
                    min_item=options.min_item_events,
                )
            )
        )
        counts["rows_outside_core"] = before - table.num_rows
    counts["rows"] = table.num_rows
    if table.num_rows == 0:
        removed = ", ".join(f"{k}: {v:,}" for k, v in counts.items())
        raise DataError(f"no row is left after the filters ({removed}): loosen them")
    return table, counts


def keep_one(table: pa.Table, which: str) -> npt.NDArray[np.bool_]:
    """bool [rows]: the first or last event (by time, then row) of each (user, item)."""
    user, item = _codes(table)
    times = table[TIMESTAMP].to_numpy() if TIMESTAMP in table.column_names else np.zeros(len(user))
    order = np.lexsort((times, item, user))
    same = (np.diff(user[order]) == 0) & (np.diff(item[order]) == 0)
    edge = np.ones(len(order), dtype=np.bool_)
    if which == "first":
        edge[1:] = ~same
    else:
        edge[:-1] = ~same
    keep = np.zeros(len(order), dtype=np.bool_)
    keep[order[edge]] = True
    return keep


def core_rows(
    user: npt.NDArray[np.int64], item: npt.NDArray[np.int64], *, min_user: int, min_item: int
) -> npt.NDArray[np.bool_]:
    """bool [rows]: the largest set in which every user and item has its least number of rows."""
    keep = np.ones(len(user), dtype=np.bool_)
    while True:
        users = np.bincount(user[keep], minlength=int(user.max()) + 1)
        items = np.bincount(item[keep], minlength=int(item.max()) + 1)
        fresh = keep & (users[user] >= min_user) & (items[item] >= min_item)
        if fresh.sum() == keep.sum():
            return keep
        keep = fresh


def _codes(table: pa.Table) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    user, item = (
        table[name].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
        for name in (USER, ITEM)
    )
    return user, item
