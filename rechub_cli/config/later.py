"""Settings younger than runs and figures that are still read, and what held before them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Later:
    """group.key, which ``value`` stands for where it is missing. name: of the group's options
    the one that has it; None: all have."""

    group: str
    key: str
    value: Any
    name: str | None = None


LATER = (
    Later("trainer", "precision", "fp32"),
    Later("trainer", "compile", False),
    Later("model", "positions", "end", name="sasrec"),
    Later("data", "cache", False, name="table"),
)


def complete(values: Mapping[str, Any]) -> dict[str, Any]:
    """A saved config with the settings that were not there when it was saved."""
    found = dict(values)
    for later in LATER:
        node = found.get(later.group)
        if isinstance(node, Mapping) and later.name in (None, node.get("name")):
            found[later.group] = {later.key: later.value, **node}
    return found
