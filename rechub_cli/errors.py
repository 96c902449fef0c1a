"""The error family: each class carries the exit code that the command line ends with.

0 done; 1 a gate failed or some sweep points failed; 2 the user's mistake; 3 a bug of ours;
130 / 143 interrupted by SIGINT / SIGTERM.
"""

from __future__ import annotations


class RechubError(ValueError):
    """A mistake that a user can make: what was found, where, what is allowed, what to do."""

    exit_code = 2


class ConfigError(RechubError):
    """One or more settings are wrong; the message lists all of them."""


class DataError(RechubError):
    """The input data are unusable; the message names file, column, row and cell."""


class GateError(RechubError):
    """A check of the product's own output failed (ONNX parity, a non-finite loss)."""

    exit_code = 1
