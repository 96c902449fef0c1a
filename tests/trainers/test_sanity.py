"""Named warnings: each rule by hand, and each on a run broken on purpose."""

from __future__ import annotations

import pytest

from rechub_cli.trainers.sanity import below_floor


@pytest.mark.parametrize(
    ("model", "floor", "queries", "fires"),
    [
        (0.01, 0.09, 1000, True),  # 0.08 apart, two standard errors are 0.02
        (0.09, 0.01, 1000, False),
        (0.08, 0.09, 1000, False),  # within the noise
        (0.00, 0.10, 20, False),  # 20 queries say nothing
        (0.05, 0.05, 0, False),
    ],
)
def test_below_floor_by_hand(model: float, floor: float, queries: int, fires: bool) -> None:
    found = below_floor({"r": model}, {"r": floor}, metric="r", queries=queries)
    assert (found is not None) == fires
    if found is not None:
        assert str(found).startswith("warning: below_floor: test r is 0.0100 and popularity")
