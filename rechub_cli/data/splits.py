"""Splits: index ranges over the CSR of the interactions, never a copy of them.

U users, Q queries. A query's history is ``items[offsets[user] : history_end]`` and its targets
are the distinct items of ``items[history_end : target_end]``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rechub_cli.data.interactions import Interactions, Ints
from rechub_cli.data.split_rules import HELD_OUT_SHARE
from rechub_cli.errors import DataError

MIN_EVENTS = 3
"""Users with fewer events train only: a target, a validation target and something to learn."""
COMIREC_HISTORY_SHARE = 0.8
"""Share of a held-out user's events that is the input (Cen 2020, section 4.1)."""


@dataclass(frozen=True)
class Queries:
    """What is asked of a model at evaluation. All fields int64 [Q]."""

    name: str
    user: Ints
    history_end: Ints
    target_end: Ints

    def __len__(self) -> int:
        return len(self.user)

    def spread(self, count: int) -> Queries:
        """At most ``count`` of them, evenly spread over all."""
        if count >= len(self):
            return self
        rows = np.linspace(0, len(self) - 1, num=count).astype(np.int64)
        return replace(
            self,
            user=self.user[rows],
            history_end=self.history_end[rows],
            target_end=self.target_end[rows],
        )


@dataclass(frozen=True)
class Split:
    """train_end: int64 [U]; the training events of u are ``offsets[u]:train_end[u]``."""

    train_end: Ints
    valid: Queries
    test: Queries
    protocol: dict[str, Any]
    notes: tuple[str, ...] = field(default=())


def leave_one_out(data: Interactions) -> Split:
    """Last event test, the one before validation, the rest training (users of >= 3 events)."""
    ends = data.offsets[1:]
    users = np.flatnonzero(np.diff(data.offsets) >= MIN_EVENTS)
    if len(users) == 0:
        raise DataError(
            f"split.method=leave_one_out needs users with at least {MIN_EVENTS} events; the "
            f"longest history has {int(np.diff(data.offsets).max())}. Use another split.method."
        )
    train_end = ends.copy()
    train_end[users] -= 2
    last = ends[users]
    return Split(
        train_end,
        Queries("valid", users, last - 2, last - 1),
        Queries("test", users, last - 1, last),
        {"method": "leave_one_out"},
    )


def time_split(
    data: Interactions, *, time: int | None, valid_share: float | None, test_share: float | None
) -> Split:
    """Cut all users at one global time; one query a user with events after the cut.

    time: the test cut: events at or after it are test targets. None: the cut that leaves
        ``test_share`` of all rows behind it. Validation takes ``valid_share`` of all rows,
        those just before the test cut.
    """
    if data.timestamps is None:
        raise DataError(
            "split.method=time needs timestamps, and the data have none: name the column in "
            "data.columns.timestamp, or use split.method=leave_one_out."
        )
    share = HELD_OUT_SHARE if test_share is None else test_share
    ordered = np.sort(data.timestamps)
    cut = int(ordered[int(len(ordered) * (1 - share))]) if time is None else time
    before = int(np.searchsorted(ordered, cut))
    wanted = int(len(ordered) * (HELD_OUT_SHARE if valid_share is None else valid_share))
    valid_cut = int(ordered[min(max(before - wanted, 0), len(ordered) - 1)])
    if before in (0, len(ordered)) or valid_cut in (ordered[0], cut):
        raise DataError(
            f"split.time={cut} leaves a part empty: the data span {ordered[0]} to {ordered[-1]}, "
            f"and {before} of {len(ordered)} rows lie before the cut. Choose a time between."
        )
    train_end = data.offsets[:-1] + _events_before(data, valid_cut)
    test_start = data.offsets[:-1] + _events_before(data, cut)
    valid = _non_empty("valid", train_end, test_start)
    test = _non_empty("test", test_start, data.offsets[1:])
    without = int((test.history_end == data.offsets[test.user]).sum())
    note = f"{without:,} of {len(test):,} test users have no event before the cut"
    return Split(
        train_end,
        valid,
        test,
        {"method": "time", "time": cut, "valid_time": valid_cut},
        (note,) if without else (),
    )


def user_split(
    data: Interactions, *, valid_share: float | None, test_share: float | None, seed: int
) -> Split:
    """Users in three disjoint groups; the first 80% of a held-out user's events are its input."""
    shares = [HELD_OUT_SHARE if s is None else s for s in (valid_share, test_share)]
    lengths = np.diff(data.offsets)
    able = np.flatnonzero(lengths >= MIN_EVENTS)
    able = np.random.default_rng(seed).permutation(able)
    n_valid, n_test = (round(len(able) * s) for s in shares)
    if n_valid == 0 or n_test == 0 or n_valid + n_test >= len(able):
        raise DataError(
            f"split.method=user with valid_share={shares[0]} and test_share={shares[1]} of "
            f"{len(able)} users (those with >= {MIN_EVENTS} events) leaves a part empty."
        )
    train_end = data.offsets[1:].copy()
    held_out = able[: n_valid + n_test]
    train_end[held_out] = data.offsets[held_out]
    parts = (("valid", np.sort(able[:n_valid])), ("test", np.sort(held_out[n_valid:])))
    valid, test = (
        Queries(
            name,
            users,
            data.offsets[users] + (lengths[users] * COMIREC_HISTORY_SHARE).astype(np.int64),
            data.offsets[users + 1],
        )
        for name, users in parts
    )
    protocol = {"method": "user", "valid_share": shares[0], "test_share": shares[1], "seed": seed}
    return Split(train_end, valid, test, protocol)


def given_split(data: Interactions) -> Split:
    """The split that the data came with; within a user: train, then valid, then test events."""
    if data.parts is None:
        raise DataError(
            "split.method=given needs the column that says train, valid or test: name it in "
            "data.columns.split (from Python: split_column)."
        )
    users = data.users()
    starts = data.offsets[:-1]
    train, valid = (
        np.bincount(users[data.parts == part], minlength=data.num_users) for part in (0, 1)
    )
    valid_end = starts + train + valid
    split = Split(
        starts + train,
        _non_empty("valid", starts + train, valid_end),
        _non_empty("test", valid_end, data.offsets[1:]),
        {"method": "given"},
    )
    for name, size in (("train", train.sum()), ("valid", valid.sum()), ("test", len(split.test))):
        if size == 0:
            raise DataError(f"split.method=given: no row of the split column says {name!r}.")
    return split


def _events_before(data: Interactions, cut: int) -> Ints:
    assert data.timestamps is not None
    early = count_before(data.timestamps < cut)
    return early[data.offsets[1:]] - early[data.offsets[:-1]]


def count_before(flags: npt.NDArray[np.bool_]) -> Ints:
    """How many flags stand before each position, int64 [n+1]."""
    return np.concatenate([[0], np.cumsum(flags, dtype=np.int64)])


def _non_empty(name: str, start: Ints, end: Ints) -> Queries:
    users = np.flatnonzero(end > start)
    return Queries(name, users, start[users], end[users])
