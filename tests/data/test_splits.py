"""Splits by hand: index ranges, order, ties, and what trains only. U users, Q queries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rechub_cli.data.dataset import SplitOptions, make_split, training_events
from rechub_cli.data.interactions import Interactions, index_raw
from rechub_cli.data.raw import RawData
from rechub_cli.data.splits import given_split, leave_one_out, time_split, user_split
from rechub_cli.errors import ConfigError, DataError


def interactions(
    user: list[int], item: list[str], time: list[int] | None = None, split: list[str] | None = None
) -> Interactions:
    columns = {"user": user, "item": item}
    if time is not None:
        columns["timestamp"] = time  # type: ignore[assignment]
    if split is not None:
        columns["split"] = split  # type: ignore[assignment]
    return index_raw(RawData(pa.table(columns)))[0]


def test_events_are_ordered_by_user_time_and_reading_order() -> None:
    data = interactions([7, 3, 7, 3, 7], ["a", "b", "c", "d", "b"], [5, 1, 5, 0, 2])
    assert data.offsets.tolist() == [0, 2, 5]  # user 3, then user 7
    # user 3: d (0), b (1); user 7: b (2), then a and c, tied at 5, as they were read
    assert data.items.tolist() == [3, 1, 1, 0, 2]


def test_without_times_the_row_order_is_the_order() -> None:
    assert interactions([1, 1, 1], ["c", "a", "b"]).items.tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("count", "rows"), [(1, [0]), (2, [0, 6]), (3, [0, 3, 6]), (7, [*range(7)]), (9, [*range(7)])]
)
def test_some_queries_are_spread_over_all(count: int, rows: list[int]) -> None:
    data = interactions([user for user in range(7) for _ in range(user + 3)], ["a"] * 42)
    found, whole = (leave_one_out(data).valid.spread(n) for n in (count, 7))
    assert found.user.tolist() == rows
    for name in ("history_end", "target_end"):
        assert getattr(found, name).tolist() == getattr(whole, name)[rows].tolist()


def test_leave_one_out_by_hand() -> None:
    data = interactions([1] * 4 + [2] * 2, list("abcdab"))
    split = leave_one_out(data)
    assert split.train_end.tolist() == [2, 6]  # user 2 has two events: it trains only
    assert split.valid.user.tolist() == [0]
    assert (split.valid.history_end.tolist(), split.valid.target_end.tolist()) == ([2], [3])
    assert (split.test.history_end.tolist(), split.test.target_end.tolist()) == ([3], [4])
    assert training_events(data, split).tolist() == [0, 1, 4, 5]


def test_leave_one_out_needs_three_events() -> None:
    with pytest.raises(DataError, match="at least 3 events; the longest history has 2"):
        leave_one_out(interactions([1, 1, 2], list("aba")))


def test_time_split_by_hand() -> None:
    # user 1: 0 1 | 6 | 8 9    user 2: | | 9    user 3: 2 3 | |
    data = interactions([1, 1, 1, 1, 1, 2, 3, 3], list("abcdefab"), [0, 1, 6, 8, 9, 9, 2, 3])
    split = time_split(data, time=8, valid_share=1 / 8, test_share=None)
    assert split.train_end.tolist() == [2, 5, 8]
    assert split.valid.user.tolist() == [0]
    assert (split.valid.history_end.tolist(), split.valid.target_end.tolist()) == ([2], [3])
    assert split.test.user.tolist() == [0, 1]
    assert split.test.history_end.tolist() == [3, 5]
    assert split.test.target_end.tolist() == [5, 6]
    assert "1 of 2 test users" in split.notes[0]


def test_time_split_needs_times_and_two_sides() -> None:
    with pytest.raises(DataError, match="needs timestamps"):
        time_split(interactions([1, 1], ["a", "b"]), time=None, valid_share=None, test_share=None)
    with pytest.raises(DataError, match="leaves a part empty: the data span 1 to 3"):
        time_split(
            interactions([1, 1, 1], list("abc"), [1, 2, 3]),
            time=99,
            valid_share=None,
            test_share=None,
        )


def test_user_split_is_disjoint_and_cuts_at_80_percent() -> None:
    data = interactions([u for u in range(20) for _ in range(10)], list("abcdefghij") * 20)
    split = user_split(data, valid_share=0.2, test_share=0.3, seed=1)
    assert (len(split.valid), len(split.test)) == (4, 6)
    held = set(split.valid.user) | set(split.test.user)
    assert len(held) == 10
    for u in range(20):
        trains = split.train_end[u] - data.offsets[u]
        assert trains == (0 if u in held else 10)
    starts = data.offsets[split.test.user]
    assert (split.test.history_end - starts).tolist() == [8] * 6
    assert (split.test.target_end - split.test.history_end).tolist() == [2] * 6
    again = user_split(data, valid_share=0.2, test_share=0.3, seed=1)
    assert again.test.user.tolist() == split.test.user.tolist()


def test_given_split_by_hand() -> None:
    data = interactions(
        [1, 1, 1, 1], list("abcd"), [1, 2, 3, 4], ["train", "test", "train", "valid"]
    )
    split = given_split(data)
    assert data.items.tolist() == [0, 2, 3, 1]  # train rows first, then valid, then test
    assert split.train_end.tolist() == [2]
    assert (split.test.history_end.tolist(), split.test.target_end.tolist()) == ([3], [4])
    with pytest.raises(DataError, match="no row of the split column says 'valid'"):
        given_split(interactions([1, 1], ["a", "b"], None, ["train", "test"]))
    with pytest.raises(DataError, match=r"data\.columns\.split"):
        given_split(interactions([1], ["a"]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "tiem"}, "method='tiem'; allowed: leave_one_out, .* Did you mean 'time'"),
        ({"test_share": 0.3}, "test_share=0.3 is ignored by method=leave_one_out; .*time or user"),
        ({"method": "user", "time": 7}, "time=7 is ignored by method=user"),
        ({"method": "user", "valid_share": 2}, "valid_share=2 is not between the allowed 0 and 1"),
        ({"method": "user", "test_share": "0.2"}, "test_share='0.2' is not between the allowed"),
        (
            {"method": "user", "valid_share": 0.6, "test_share": 0.4},
            "valid_share=0.6 leaves nothing to train on.*\ntest_share=0.4 leaves nothing",
        ),
        ({"method": "time", "test_share": 0.9}, "^test_share=0.9 leaves nothing to train on"),
        ({"method": "time", "time": 7, "test_share": 0.1}, "ignored beside a given time"),
        ({"method": "time", "time": "2024-05-31"}, "time='2024-05-31' is no whole number"),
    ],
)
def test_split_options_that_would_do_something_else_are_refused(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        SplitOptions(**options)


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 6), st.integers(0, 9), st.integers(0, 30)),
        min_size=30,
        max_size=90,
    ),
    method=st.sampled_from(["leave_one_out", "time", "user"]),
)
@settings(max_examples=60, deadline=None)
def test_no_split_leaks(rows: list[tuple[int, int, int]], method: str) -> None:
    """Training ends where the validation history ends; targets lie behind every history."""
    users, items, times = zip(*rows, strict=True)
    data = interactions(list(users), [str(i) for i in items], list(times))
    try:
        split = make_split(data, SplitOptions(method, valid_share=None), seed=0)
    except DataError:
        return
    assert (split.train_end >= data.offsets[:-1]).all()
    assert (split.train_end <= data.offsets[1:]).all()
    for queries in (split.valid, split.test):
        assert (queries.target_end > queries.history_end).all()
        assert (queries.target_end <= data.offsets[queries.user + 1]).all()
        assert (split.train_end[queries.user] <= queries.history_end).all()
    trained = set(training_events(data, split).tolist())
    for queries in (split.valid, split.test):
        spans = zip(queries.history_end, queries.target_end, strict=True)
        targets = {e for a, b in spans for e in range(a, b)}
        assert not targets & trained
    if method == "time":
        assert data.timestamps is not None
        cut = split.protocol["valid_time"]
        assert (data.timestamps[sorted(trained)] < cut).all()
    if method == "leave_one_out":
        assert np.array_equal(split.valid.target_end, split.test.history_end)
