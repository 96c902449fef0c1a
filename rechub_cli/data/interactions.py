"""Interactions in memory: CSR by user, encoded, contiguous. U users, E events, I items."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from rechub_cli.data.columns import PARTS
from rechub_cli.data.order import stable_order
from rechub_cli.data.raw import ITEM, RATING, SPLIT, TIMESTAMP, USER, WEIGHT, About, RawData

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Interactions:
    """Every event, ordered by (user, given split, timestamp, reading order).

    offsets: int64 [U+1]; the events of user u are ``offsets[u]:offsets[u + 1]``.
    items: int32 [E], catalogue rows.
    timestamps: int64 [E] or None. weights: float32 [E] or None.
    parts: int8 [E] or None: 0 train, 1 valid, 2 test, where the data came with a split.
    context: event columns that the user tower may read, raw [E].
    """

    offsets: Ints
    items: npt.NDArray[np.int32]
    num_items: int
    timestamps: Ints | None = None
    weights: npt.NDArray[np.float32] | None = None
    parts: npt.NDArray[np.int8] | None = None
    context: dict[str, pa.Array] = field(default_factory=dict)

    @property
    def num_users(self) -> int:
        return len(self.offsets) - 1

    @property
    def num_events(self) -> int:
        return len(self.items)

    def item_counts(self, events: Ints) -> Ints:
        """How many of ``events``, distinct int64 indexes, each item has, int64 [I]."""
        others = np.ones(self.num_events, dtype=bool)
        others[events] = False
        # All less the few others: to gather the items of nearly all events takes far longer.
        every = np.bincount(self.items, minlength=self.num_items)
        return every - np.bincount(self.items[others], minlength=self.num_items)

    def users(self) -> Ints:
        """The user row of each event, int64 [E]."""
        return np.repeat(np.arange(self.num_users), np.diff(self.offsets))


@dataclass(frozen=True)
class Catalogue:
    """Every item of the item table and of the interactions, in a fixed order.

    ids: raw ids [I]. features: raw side columns [I], null where the item table lacks the item.
    """

    ids: pa.Array
    features: dict[str, pa.Array]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class UserTable:
    """Every user of the interactions, in CSR order: raw ids [U] and raw side columns [U]."""

    ids: pa.Array
    features: dict[str, pa.Array]

    def __len__(self) -> int:
        return len(self.ids)


class Indexed(NamedTuple):
    """Tables in dense rows: all that a split and an encoder need."""

    interactions: Interactions
    catalogue: Catalogue
    users: UserTable
    about: About

    def noting(self, note: str) -> Indexed:
        """These tables, with one more note."""
        return self._replace(about=replace(self.about, notes=(*self.about.notes, note)))


def index_raw(raw: RawData) -> Indexed:
    """Give users and items dense rows (in ascending id order) and put the events in CSR form."""
    table = raw.events
    user_ids, user_rows, counts = _dense(table[USER])
    item_ids, item_rows, _ = _dense(
        table[ITEM], extra=None if raw.items is None else raw.items[ITEM]
    )
    times = table[TIMESTAMP].to_numpy() if TIMESTAMP in table.column_names else None
    parts = _parts(table[SPLIT]) if SPLIT in table.column_names else None
    # Stable: equal times keep the reading order.
    order = stable_order(*(key for key in (user_rows, parts, times) if key is not None))
    del user_rows
    known = {USER, ITEM, TIMESTAMP, WEIGHT, SPLIT, RATING}
    context = {
        name: _one_chunk(table[name]).take(pa.array(order))
        for name in table.column_names
        if name not in known
    }
    weights = (
        table[WEIGHT].to_numpy()[order].astype(np.float32) if WEIGHT in table.schema.names else None
    )
    interactions = Interactions(
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        items=item_rows[order],
        num_items=len(item_ids),
        timestamps=None if times is None else times[order].astype(np.int64, copy=False),
        weights=weights,
        parts=None if parts is None else parts[order],
        context=context,
    )
    return Indexed(
        interactions,
        Catalogue(item_ids, _side_columns(raw.items, ITEM, item_ids)),
        UserTable(user_ids, _side_columns(raw.users, USER, user_ids)),
        raw.about(),
    )


def _one_chunk(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()  # which copies


def _dense(
    column: pa.ChunkedArray, extra: pa.ChunkedArray | None = None
) -> tuple[pa.Array, npt.NDArray[np.int32], Ints]:
    """Ascending distinct ids of both columns; of the first: each value's row, each row's count."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    coded = _one_chunk(column.unify_dictionaries() if column.num_chunks > 1 else column)
    values, codes = coded.dictionary, coded.indices.to_numpy()
    value_counts = np.bincount(codes, minlength=len(values))
    used = value_counts > 0
    ids = values if used.all() else values.filter(pa.array(used))
    if extra is not None:
        ids = pa.concat_arrays([ids, _one_chunk(extra).cast(ids.type)]).unique()
    ids = ids.take(pc.sort_indices(ids))
    row_of = pc.index_in(values, ids).fill_null(-1).to_numpy()
    counts = np.zeros(len(ids), dtype=np.int64)
    counts[row_of[used]] = value_counts[used]
    in_order = np.array_equal(row_of, np.arange(len(ids)))
    return ids, codes if in_order else row_of[codes], counts


def _parts(column: pa.ChunkedArray) -> npt.NDArray[np.int8]:
    names = pa.array(PARTS)
    return np.asarray(pc.index_in(column.cast(pa.string()), names).to_numpy()).astype(np.int8)


def _side_columns(table: pa.Table | None, key: str, ids: pa.Array) -> dict[str, pa.Array]:
    if table is None:
        return {}
    rows = pc.index_in(ids, _one_chunk(table[key]).cast(ids.type))
    return {name: _one_chunk(table[name]).take(rows) for name in table.column_names if name != key}


def describe(interactions: Interactions) -> dict[str, Any]:
    """Counts for reports: users, items, events, shortest, median and longest history."""
    lengths = np.diff(interactions.offsets)
    return {
        "users": interactions.num_users,
        "items": interactions.num_items,
        "events": interactions.num_events,
        "events_per_user": {
            "min": int(lengths.min()),
            "median": float(np.median(lengths)),
            "max": int(lengths.max()),
        },
    }
