"""Both baselines by hand. Two users: items 0 1 2 (of 3 all train) and 0 1 3 (the last is held)."""

from __future__ import annotations

import numpy as np
import pytest

from rechub_cli.data.interactions import Interactions
from rechub_cli.data.splits import Queries
from rechub_cli.evaluation.baselines import Popularity, SequentialRules

DATA = Interactions(np.array([0, 3, 6, 6]), np.array([0, 1, 2, 0, 1, 3], dtype=np.int32), 4)
TRAIN_END = np.array([3, 5, 6])
SHARE = np.array([2, 2, 1, 0]) / 5


def queries(*rows: tuple[int, int]) -> Queries:
    user, end = np.array(rows).T
    return Queries("test", user, end, end)


def rules(*rows: tuple[int, int], **settings: float) -> np.ndarray:
    fitted = SequentialRules.fit(DATA, TRAIN_END, **settings)  # type: ignore[arg-type]
    return fitted.scorer(queries(*rows))(slice(0, len(rows))).numpy()


def test_popularity_is_the_share_of_training_events_for_everybody() -> None:
    scores = Popularity.fit(DATA, TRAIN_END).scorer(queries((0, 3), (2, 6)))(slice(0, 2))
    assert scores.tolist() == [pytest.approx(SHARE)] * 2


def test_rules_follow_the_formula() -> None:
    # M[0] = {1: 1 + 1, 2: 1/2}, sum 2.5; M[1] = {2: 1}; the held 3 is no training event.
    zero = np.array([0, 2, 0.5, 0]) / 7.5
    one = np.array([0, 0, 1, 0]) / 6
    found = rules((1, 5), (0, 1), (0, 0), (2, 6))
    np.testing.assert_allclose(found[0], one + 0.8 * zero + 0.001 * SHARE)
    np.testing.assert_allclose(found[1], zero + 0.001 * SHARE)
    np.testing.assert_allclose(found[2], 0.001 * SHARE)
    np.testing.assert_allclose(found[3], 0.001 * SHARE)


def test_window_history_and_decay_are_obeyed() -> None:
    near = np.array([0, 2, 0, 0]) / 7
    one = np.array([0, 0, 1, 0]) / 6
    np.testing.assert_allclose(rules((1, 5), window=1)[0], one + 0.8 * near + 0.001 * SHARE)
    np.testing.assert_allclose(rules((1, 5), history=1)[0], one + 0.001 * SHARE)
    np.testing.assert_allclose(
        rules((1, 5), window=1, decay=0.5)[0], one + 0.5 * near + 0.001 * SHARE
    )


def test_no_pair_joins_two_users() -> None:
    # User 0 ends in item 2 and user 1 begins with item 0.
    alone = SequentialRules.fit(DATA, TRAIN_END)
    assert alone.offsets.tolist() == [0, 2, 3, 3, 3]
    assert alone.columns.tolist() == [1, 2, 2]


def test_a_repeated_item_counts_again() -> None:
    data = Interactions(np.array([0, 3]), np.array([0, 0, 1], dtype=np.int32), 2)
    fitted = SequentialRules.fit(data, np.array([3]), window=2)
    # 0 -> 0 at distance 1; 0 -> 1 at 1 and at 2.
    np.testing.assert_allclose(fitted.values, np.array([1, 1.5]) / 7.5)
    scores = fitted.scorer(Queries("t", np.array([0]), np.array([2]), np.array([3])))(slice(0, 1))
    share = np.array([2, 1]) / 3
    np.testing.assert_allclose(scores[0].numpy(), np.array([1, 1.5]) / 7.5 * 1.8 + 0.001 * share)
