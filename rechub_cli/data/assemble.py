"""Events as read, side tables as read: filtered, brought to one id type, put into RawData."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rechub_cli.data.filters import FilterOptions, apply_filters
from rechub_cli.data.ids import Ids
from rechub_cli.data.raw import ITEM, RATING, TIMESTAMP, USER, Identity, RawData
from rechub_cli.data.side_tables import SideRows, count_missing, share_type
from rechub_cli.errors import DataError

SETTINGS = {ITEM: "data.items", USER: "data.users"}


@dataclass(frozen=True)
class Events:
    """Interactions before filtering. columns: canonical or context name -> values [E]."""

    user: Ids
    item: Ids
    columns: dict[str, Any]
    timestamp_unit: str | None = None
    notes: tuple[str, ...] = field(default=())

    def noting(self, *notes: str) -> Events:
        """These events, with more notes."""
        return replace(self, notes=(*self.notes, *notes))


def assemble(
    events: Events,
    *,
    items: SideRows | None,
    users: SideRows | None,
    rating_threshold: float | None,
    filters: FilterOptions,
    identity: Identity | None = None,
) -> RawData:
    """Filter the events and join them with their side tables into RawData.

    identity: of a public data set, passed through.

    Raises DataError: nothing is left, or a side table shares no id with the events.
    """
    ratings = events.columns.get(RATING)
    rows, counts = apply_filters(
        events.user.codes,
        events.item.codes,
        filters=filters,
        times=events.columns.get(TIMESTAMP),
        ratings=None if ratings is None else ratings.to_numpy(),
        rating_threshold=rating_threshold,
    )
    notes = [*events.notes, *_filter_notes(counts)]
    whole = len(rows) == counts["rows_read"]
    columns: dict[str, Any] = {}
    tables: dict[str, pa.Table | None] = {ITEM: None, USER: None}
    for name, ids, side in ((USER, events.user, users), (ITEM, events.item, items)):
        codes = ids.codes if whole else ids.codes[rows]
        values = ids.values
        if side is not None:
            values, keys = share_type(ids.values, side.ids.values)
            if values.type != ids.values.type or keys.type != side.ids.values.type:
                notes.append(f"{name} ids: integers in one table, text in the other; all are text")
            tables[name] = side.table(name, keys)
            notes += side.notes
            _report_missing(name, values=values, codes=codes, keys=keys, counts=counts, notes=notes)
        columns[name] = pa.DictionaryArray.from_arrays(pa.array(codes), values)
    taken = pa.array(rows)
    for name, column in events.columns.items():
        values = pa.chunked_array([column]) if isinstance(column, np.ndarray) else column
        columns[name] = values if whole else values.take(taken)
    return RawData(
        events=pa.table(columns),
        items=tables[ITEM],
        users=tables[USER],
        notes=tuple(notes),
        counts=counts,
        timestamp_unit=events.timestamp_unit,
        identity=identity,
    )


def _report_missing(
    name: str,
    *,
    values: pa.Array,
    codes: npt.NDArray[np.int32],
    keys: pa.Array,
    counts: dict[str, int],
    notes: list[str],
) -> None:
    """Count the ids that the side table lacks; all of them missing is an error."""
    used = values.take(pa.array(np.flatnonzero(np.bincount(codes))))
    missing = count_missing(used, keys)
    if missing == len(used):
        raise DataError(
            f"{SETTINGS[name]}: none of the {len(used):,} {name}s of the interactions is in the "
            f"table (the interactions have {used[0].as_py()!r}, the table {keys[0].as_py()!r}); "
            f"set {SETTINGS[name]}.key to the column that holds the same ids"
        )
    counts[f"{name}s_not_in_table"] = missing
    if missing:
        notes.append(
            f"{missing:,} of {len(used):,} {name}s are not in the {name} table: their features "
            "are unknown (OOV)"
        )
    if name == ITEM:
        counts["items_without_events"] = len(keys) - (len(used) - missing)


def _filter_notes(counts: dict[str, int]) -> list[str]:
    words = {
        "rows_below_rating": "below the rating threshold",
        "rows_duplicate": "repeats of a user and item",
        "rows_core": "of users or items with too few events",
    }
    return [
        f"{counts[name]:,} of {counts['rows_read']:,} rows removed: {why}"
        for name, why in words.items()
        if counts[name]
    ]
