"""Rows by packed keys: the order that numpy's lexsort gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rechub_cli.data.order import stable_order

FAR = 2**62
NUMBERS = st.sampled_from([0, 1, 2, -5, 2**31, FAR, -FAR, 2**63 - 1, -(2**63)])


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=30))
def test_order_is_lexsorts_for_any_range(rows: list[tuple[int, int]]) -> None:
    first, second = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    assert np.array_equal(stable_order(first, second), np.lexsort((second, first)))


@pytest.mark.parametrize("kind", [np.int8, np.int32])
def test_order_of_narrow_keys_and_equal_rows(kind: type) -> None:
    rng = np.random.default_rng(0)
    keys = [rng.integers(-100, 100, size=5_000).astype(kind) for _ in range(2)]
    assert np.array_equal(stable_order(*keys), np.lexsort(keys[::-1]))
