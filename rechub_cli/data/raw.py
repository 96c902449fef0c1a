"""What every data source hands over: columnar tables, nothing encoded yet."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa

USER, ITEM, TIMESTAMP, RATING, WEIGHT, SPLIT = (
    "user",
    "item",
    "timestamp",
    "rating",
    "weight",
    "split",
)
"""Canonical column names of ``RawData.events``; any other column is context."""
CHUNK_ROWS = 1 << 20


@dataclass(frozen=True)
class Identity:
    """Which interactions a public data set's file holds.

    name: the published file, or what sets this one apart. sha256: of the interactions as read,
    whatever form they came in. published: whether published figures apply.
    """

    name: str
    sha256: str
    published: bool


@dataclass(frozen=True, kw_only=True)
class About:
    """What is known of tables beside their cells.

    notes: one line each about what was assumed or removed, to be shown to the user.
    counts: plain numbers for reports (``rows_read``, ``rows_below_rating``,
        ``rows_duplicate``, ``rows_core``, ``rows`` ...).
    timestamp_unit: "s", "ms", "us" or "ns" where timestamps exist and the unit is known.
    identity: of a public data set.
    """

    notes: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    timestamp_unit: str | None = None
    identity: Identity | None = None


@dataclass(frozen=True)
class RawData(About):
    """Interactions and side tables as read, filtered and in their final row order.

    events: columns ``user`` and ``item`` (int64 or string, plain or dictionary-encoded), and
        where the source has them ``timestamp`` (int64, in the source's own unit), ``rating`` and
        ``weight`` (float64), ``split`` (string) and context columns. Rows stand in reading order
        (file name, row); ordering a user's events by time is the consumer's work, stable on this
        order.
    items, users: one row a key; the key column is named ``item`` / ``user`` and has the type of
        the interactions' column; every other column is a feature with its own type.
    """

    events: pa.Table
    items: pa.Table | None = None
    users: pa.Table | None = None

    def about(self) -> About:
        """Without the tables, which are large."""
        return About(
            notes=self.notes,
            counts=self.counts,
            timestamp_unit=self.timestamp_unit,
            identity=self.identity,
        )

    @property
    def interactions(self) -> pa.Table:
        """The events with plain user and item columns."""
        return pa.table({name: _plain(self.events[name]) for name in self.events.column_names})


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pa.types.is_dictionary(column.type):
        return column
    # In parts: one string array may not hold more than 2 GiB.
    starts = range(0, len(column), CHUNK_ROWS)
    parts = [chunk for start in starts for chunk in column.slice(start, CHUNK_ROWS).chunks]
    return pa.chunked_array([part.dictionary_decode() for part in parts])
