"""Models of other packages: entry points of the group ``rechub.models``, each a ModelEntry."""

from __future__ import annotations

import sys
from functools import cache
from importlib.metadata import entry_points
from typing import Any

ENTRY_POINTS = "rechub.models"


@cache
def other_entries() -> tuple[Any, ...]:
    """The ModelEntry of each. One that cannot be used is left out, with a line on stderr."""
    found = []
    for point in entry_points(group=ENTRY_POINTS):
        try:
            entry = point.load()
            if entry.settings is None:
                raise TypeError("its ModelEntry has no settings, the class of its YAML's keys")
        except Exception as error:  # noqa: BLE001 - whatever another package's import raises
            print(
                f"rechub: model {point.name} ({point.value}) is left out: {error}", file=sys.stderr
            )
        else:
            found.append(entry)
    return tuple(found)
