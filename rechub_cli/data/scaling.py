"""Number columns to mean 0 and standard deviation 1 over training rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rechub_cli.data.interactions import Ints

FURTHEST = 1e4
"""Standard deviations that a number counts at most: no training row is as far until there are its
square of them, and a slip in an untrained one would drown all else."""

Floats = npt.NDArray[np.float64]
ROUNDING = 1e-12
"""Share of the mean under which a deviation is none: the mean of equal float64 numbers is some
1e-16 of itself off, up to 1e-14 for millions of rows."""


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of a dense column over training rows.

    A column that does not vary tells nothing, and its weights learn nothing: ``std`` is infinite,
    so that every value, one of an untrained row too, is 0.
    """

    mean: float
    std: float
    flag: bool
    """Whether some training row lacks the value: a second feature says so."""

    @property
    def varies(self) -> bool:
        return bool(np.isfinite(self.std))

    def __call__(self, numbers: Floats) -> Floats:
        """The numbers in standard deviations from the mean, at most FURTHEST; 0 where missing."""
        with np.errstate(over="ignore"):  # clipped
            away = (numbers - self.mean) / self.std
        counted: Floats = np.nan_to_num(away.clip(-FURTHEST, FURTHEST), nan=0.0)
        return counted


def fit_scale(numbers: Floats, counts: Ints) -> Scale | None:
    """The scale of numbers [n], NaN where missing; None where no training row has one.

    counts: training rows of each, int64 [n].
    """
    present = np.isfinite(numbers) & (counts > 0)
    if not present.any():
        return None
    seen, weight = numbers[present], counts[present]
    # Squares of huge numbers would overflow. A power of 2 changes no digit.
    exponent = int(np.frexp(np.abs(seen).max())[1])
    seen = np.ldexp(seen, -exponent)
    mean = float(np.average(seen, weights=weight))
    std = float(np.sqrt(np.average((seen - mean) ** 2, weights=weight)))
    if std <= ROUNDING * abs(mean):
        std = np.inf
    mean, std = (float(np.ldexp(number, exponent)) for number in (mean, std))
    return Scale(mean, std, bool(np.isnan(numbers[counts > 0]).any()))
