"""Named warnings: what a run's figures say when something is wrong with it.

Each rule is a function from measured figures to a RunWarning or None. A rule that cannot tell a
fault from noise or from a short run keeps silent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class RunWarning:
    """name: stable, for programs. text: what was found, what it means, what to do."""

    name: str
    text: str

    def __str__(self) -> str:
        return f"warning: {self.name}: {self.text}"


def below_floor(
    model: Mapping[str, float], floor: Mapping[str, float], *, metric: str, queries: int
) -> RunWarning | None:
    """The model ranks worse than popularity, by more than two standard errors.

    model, floor: test metrics of both. metric: one of them whose value for a query is in 0..1, so
    that its variance over queries is at most its mean. queries: the number of them.
    """
    found, least = model[metric], floor[metric]
    if least - found <= 2 * math.sqrt((found + least) / max(queries, 1)):
        return None
    return RunWarning(
        "below_floor",
        f"test {metric} is {found:.4f} and popularity reaches {least:.4f}: the model ranks worse "
        "than a count of training events. This is a fault, not a result: train longer, try "
        "another optimizer_params.lr, heed the other warnings, and look at the data with "
        "`rechub check`",
    )
