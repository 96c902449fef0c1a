"""Filters on codes: hand tables, and properties against the plainest implementation."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rechub_cli.data.filters import FilterOptions, apply_filters, drop_repeats, k_core
from rechub_cli.data.interactions import index_raw
from rechub_cli.data.readers import ColumnNames, read_memory
from rechub_cli.errors import DataError

EVENTS = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 4)), min_size=1, max_size=60
)


def codes(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.int32)


def test_core_falls_like_dominoes() -> None:
    # Item 3 has one event; without it user 2 has one; without that item 2 has one, and so on.
    user = codes([0, 0, 1, 1, 2, 2, 3, 3, 4, 4])
    item = codes([0, 1, 1, 2, 2, 3, 4, 5, 4, 5])
    assert k_core(user, item, min_user_events=2, min_item_events=2).tolist() == [6, 7, 8, 9]
    assert k_core(user, item, min_user_events=2, min_item_events=0).tolist() == list(range(10))
    assert k_core(user, item, min_user_events=3, min_item_events=0).tolist() == []


@given(EVENTS, st.integers(0, 4), st.integers(0, 4))
def test_core_is_the_fixed_point(
    events: list[tuple[int, int, int]], users: int, items: int
) -> None:
    left = list(enumerate(events))
    while True:
        of_user = Counter(e[0] for _, e in left)
        of_item = Counter(e[1] for _, e in left)
        kept = [(r, e) for r, e in left if of_user[e[0]] >= users and of_item[e[1]] >= items]
        if len(kept) == len(left):
            break
        left = kept
    user, item, _ = (codes(list(column)) for column in zip(*events, strict=True))
    found = k_core(user, item, min_user_events=users, min_item_events=items)
    assert found.tolist() == [row for row, _ in left]


@pytest.mark.parametrize(
    ("keep", "times", "expected"),
    [
        ("first", None, [0, 1, 4]),
        ("last", None, [1, 3, 4]),
        ("first", [5, 1, 2, 9, 1], [1, 2, 4]),
        ("last", [9, 1, 2, 5, 1], [0, 1, 4]),
        ("first", [5, 1, 5, 5, 1], [0, 1, 4]),
        ("last", [5, 1, 5, 5, 1], [1, 3, 4]),
    ],
)
def test_repeats(keep: str, times: list[int] | None, expected: list[int]) -> None:
    user, item = codes([0, 0, 0, 0, 1]), codes([7, 2, 7, 7, 7])
    at = None if times is None else np.array(times)
    assert drop_repeats(user, item, times=at, keep=keep).tolist() == expected  # type: ignore[arg-type]


@given(EVENTS, st.sampled_from(["first", "last"]))
def test_one_event_a_pair_stays_the_earliest_or_latest(
    events: list[tuple[int, int, int]], keep: str
) -> None:
    user, item, times = (np.array(column) for column in zip(*events, strict=True))
    found = drop_repeats(
        user.astype(np.int32),
        item.astype(np.int32),
        times=times,
        keep=keep,  # type: ignore[arg-type]
    ).tolist()
    best: dict[tuple[int, int], tuple[int, int]] = {}
    for row, (u, i, t) in enumerate(events):
        if (u, i) not in best or ((t, row) < best[u, i]) == (keep == "first"):
            best[u, i] = (t, row)
    assert found == sorted(row for _, row in best.values())


def test_order_and_counts() -> None:
    # Row 0 is below the threshold: were repeats dropped before, row 0 would take row 2 along.
    user, item = codes([0, 0, 0, 0, 1]), codes([0, 1, 0, 0, 1])
    ratings = np.array([1.0, 5, 5, 5, 5])
    rows, counts = apply_filters(
        user,
        item,
        filters=FilterOptions(min_user_events=2, duplicates="first"),
        ratings=ratings,
        rating_threshold=2,
    )
    assert rows.tolist() == [1, 2]
    assert counts == {
        "rows_read": 5,
        "rows_below_rating": 1,
        "rows_duplicate": 1,
        "rows_core": 1,
        "rows": 2,
    }


def test_nothing_is_filtered_by_default() -> None:
    rows, counts = apply_filters(codes([0, 0]), codes([1, 1]), filters=FilterOptions())
    assert rows.tolist() == [0, 1]
    assert counts["rows"] == counts["rows_read"] == 2


def test_nothing_left() -> None:
    with pytest.raises(DataError, match="1 outside the core"):
        apply_filters(codes([0]), codes([0]), filters=FilterOptions(min_item_events=2))


def test_ids_that_a_filter_removed_have_no_row() -> None:
    events = pa.table({"user_id": ["a", "b", "b", "c", "c"], "item_id": [9, 7, 5, 7, 5]})
    raw = read_memory(
        events,
        columns=ColumnNames(),
        filters=FilterOptions(min_user_events=2, min_item_events=2),
    )
    interactions, catalogue, users, _ = index_raw(raw)
    assert users.ids.to_pylist() == ["b", "c"]
    assert catalogue.ids.to_pylist() == [5, 7]
    assert interactions.offsets.tolist() == [0, 2, 4]
    assert interactions.items.tolist() == [1, 0, 1, 0]
