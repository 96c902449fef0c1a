"""Interleaved timing: what is compared runs in turn, so that a busy machine hits all alike.

Seconds are those that the processor spent on this process: on one thread they are those of the
clock on the wall of a quiet machine, and other jobs do not stretch them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median, quantiles
from typing import Any

from tests.benchmarks.record import Row

Seconds = dict[str, list[float]]
"""Seconds of each round, by what was timed."""


now = time.process_time


def clock(work: Callable[[], object], *, watch: Callable[[], float] = now) -> float:
    """Seconds of one go."""
    start = watch()
    work()
    return watch() - start


def interleave(
    works: Mapping[str, Callable[[], object]], *, rounds: int, watch: Callable[[], float] = now
) -> Seconds:
    """Time every work once a round, in turn, after one round that does not count."""
    for work in works.values():
        work()
    found: Seconds = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            found[name].append(clock(work, watch=watch))
    return found


def row(
    name: str,
    seconds: list[float],
    against: str,
    other: list[float],
    *,
    work: float | None = None,
    unit: str | None = None,
    **more: Any,
) -> Row:
    """The row of paired rounds. work: units done in one go. more: target, note."""
    ratios = [a / b for a, b in zip(seconds, other, strict=True)]
    middle = median(ratios)
    low, _, high = quantiles(ratios, n=4) if len(ratios) > 1 else (middle, middle, middle)
    typical = median(seconds)
    rate = None if work is None else work / typical
    spread = (high - low) / (2 * middle)
    return Row(name, typical, middle, against, spread, len(ratios), rate, unit, **more)
