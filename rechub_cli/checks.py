"""What is wrong with an option's value, in one error: the shell and Python refuse alike.

A rule is (it is broken, "key|what is wrong"). Nothing heavy is imported here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral, Real
from types import UnionType
from typing import TypeGuard

from rechub_cli.errors import ConfigError
from rechub_cli.suggest import did_you_mean

Rule = tuple[bool, str]


def check(found: object, *rules: Rule) -> None:
    """Raise one ConfigError of all broken rules. found: has the keys that they speak of."""
    values = found if isinstance(found, dict) else vars(found)
    broken = [text.split("|", 1) for wrong, text in rules if wrong]
    if broken:
        raise ConfigError("\n".join(f"{key}={values[key]!r} {text}" for key, text in broken))


def check_known(key: str, value: str, allowed: Iterable[str]) -> None:
    """Raise ConfigError for another than the allowed names."""
    if value not in (allowed := list(allowed)):
        near = did_you_mean(str(value), allowed)
        raise ConfigError(f"{key}={value!r}; allowed: {', '.join(allowed)}.{near}")


def check_kind(key: str, value: object, kind: type | UnionType, needed: str) -> None:
    """Raise ConfigError for what is not of a kind, which ``needed`` says in words."""
    if not isinstance(value, kind):
        raise ConfigError(f"{key} is a {type(value).__name__}; needed: {needed}")


def check_flags(**values: object) -> None:
    """Raise ConfigError for what is neither True nor False."""
    check(values, *(flag_rule(key, value) for key, value in values.items()))


def flag_rule(key: str, value: object) -> Rule:
    return not isinstance(value, bool), f"{key}|is neither True nor False"


def whole_rule(key: str, value: object, least: int) -> Rule:
    return not is_whole(value, least), f"{key}|is no integer >= {least}"


def divides_rule(key: str, value: int, width: int) -> Rule:
    return width % value != 0, f"{key}|does not divide the width {width}"


def share_rule(key: str, value: object) -> Rule:
    return not (is_number(value) and 0 <= value < 1), f"{key}|is no number >= 0 and < 1"


def check_whole(**values: object) -> None:
    """Raise ConfigError for what is no integer >= 1."""
    check(values, *(whole_rule(key, value, 1) for key, value in values.items()))


def is_whole(value: object, least: int, most: int | None = None) -> TypeGuard[int]:
    """An integer of least..most; True and False are none."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        return False
    return least <= int(value) and (most is None or int(value) <= most)


def is_number(value: object) -> TypeGuard[float]:
    """A finite one; True and False are none."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def at_least(value: object, least: float) -> bool:
    """Whether it is a number, and as large as that."""
    return is_number(value) and value >= least
