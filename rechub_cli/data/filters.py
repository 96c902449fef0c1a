"""Which rows stay: rating threshold, then repeats, then the k-core; all on codes, vectorised.

E events; users and items are dense codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from rechub_cli.checks import check, check_known, whole_rule
from rechub_cli.data.order import stable_order
from rechub_cli.errors import DataError

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]
Duplicates = Literal["all", "first", "last"]


@dataclass(frozen=True)
class FilterOptions:
    """Options of conf/data/table.yaml, ``filters``.

    min_user_events, min_item_events: of the k-core; 0 and 1 keep all.
    duplicates: which of a user's repeats of one item stay, by (time, row).

    Raises ConfigError for other values.
    """

    min_user_events: int = 0
    min_item_events: int = 0
    duplicates: Duplicates = "all"

    def __post_init__(self) -> None:
        check_known("duplicates", self.duplicates, get_args(Duplicates))
        counts = ("min_user_events", "min_item_events")
        check(self, *(whole_rule(key, getattr(self, key), 0) for key in counts))


def apply_filters(
    user: Codes,
    item: Codes,
    *,
    filters: FilterOptions,
    times: Ints | None = None,
    ratings: npt.NDArray[np.float64] | None = None,
    rating_threshold: float | None = None,
) -> tuple[Ints, dict[str, int]]:
    """Rows that stay (ascending, int64) and how many each filter removed. Arrays are [E].

    Raises DataError: nothing is left.
    """
    rows = np.arange(len(user))
    left = [len(rows)]
    if rating_threshold is not None and ratings is not None:
        rows = rows[ratings >= rating_threshold]
    left.append(len(rows))
    if filters.duplicates != "all":
        kept = None if times is None else _take(times, rows)
        users, items = _take(user, rows), _take(item, rows)
        rows = rows[drop_repeats(users, items, times=kept, keep=filters.duplicates)]
    left.append(len(rows))
    if max(filters.min_user_events, filters.min_item_events) > 1:
        rows = rows[
            k_core(
                _take(user, rows),
                _take(item, rows),
                min_user_events=filters.min_user_events,
                min_item_events=filters.min_item_events,
            )
        ]
    left.append(len(rows))
    removed = [before - after for before, after in zip(left, left[1:], strict=False)]
    names = ("rows_below_rating", "rows_duplicate", "rows_core")
    counts = {"rows_read": left[0], **dict(zip(names, removed, strict=True)), "rows": left[-1]}
    if len(rows) == 0:
        raise _nothing_left(counts, filters, rating_threshold)
    return rows, counts


def _take(values: npt.NDArray[Any], rows: Ints) -> npt.NDArray[Any]:
    """The values of these rows, without a copy where they are all rows."""
    return values if len(rows) == len(values) else values[rows]


def drop_repeats(
    user: Codes, item: Codes, *, times: Ints | None, keep: Literal["first", "last"]
) -> Ints:
    """Rows of the first or last event of each (user, item), by (time, row), ascending int64."""
    pair = user.astype(np.int64) * (int(item.max(initial=0)) + 1) + item
    order = stable_order(pair) if times is None else stable_order(pair, times)
    pair = pair[order]
    edge = np.ones(len(pair), dtype=bool)
    change = pair[1:] != pair[:-1]
    if keep == "first":
        edge[1:] = change
    else:
        edge[:-1] = change
    return np.sort(order[edge])


def k_core(user: Codes, item: Codes, *, min_user_events: int, min_item_events: int) -> Ints:
    """Rows of the largest set in which every user and item has enough events, ascending int64."""
    rows = np.arange(len(user))
    while len(rows):
        users, items = user[rows], item[rows]
        keep = np.bincount(users)[users] >= min_user_events
        keep &= np.bincount(items)[items] >= min_item_events
        if keep.all():
            break
        rows = rows[keep]
    return rows


def _nothing_left(
    counts: dict[str, int], filters: FilterOptions, threshold: float | None
) -> DataError:
    why = {
        "rows_below_rating": f"below data.rating_threshold={threshold}",
        "rows_duplicate": f"repeats (data.filters.duplicates={filters.duplicates})",
        "rows_core": "outside the core (data.filters.min_user_events="
        f"{filters.min_user_events}, min_item_events={filters.min_item_events})",
    }
    removed = ", ".join(f"{counts[name]:,} {text}" for name, text in why.items() if counts[name])
    return DataError(
        f"nothing is left of {counts['rows_read']:,} rows: {removed}; relax these filters"
    )
