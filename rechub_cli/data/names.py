"""What the columns of a table are called as features, so that no two keys of a batch meet."""

from __future__ import annotations

import re
from collections.abc import Mapping

from rechub_cli.errors import DataError
from rechub_cli.features import OWN_NAMES

USER_ID, ITEM_ID, HISTORY = "user_id", "item_id", "history"
RESERVED = (USER_ID, ITEM_ID, HISTORY, f"{HISTORY}_length", *OWN_NAMES)
ITEM_PREFIX, USER_PREFIX, EVENT_PREFIX = "item_", "user_", "event_"
MISSING_SUFFIX = "_missing"
UNNAMED = re.compile(r"|__index_level_\d+__")
"""What the index of a data frame is called in a file, CSV or Parquet."""


def feature_names(
    kinds: Mapping[str, str], *, prefix: str, clash: set[str], taken: set[str]
) -> dict[str, str]:
    """The feature of each column: called as it is, or with the prefix where it is one of ``clash``,
    or where one of its keys has a meaning already. The order of the columns plays no part.

    kinds: sparse, dense or multi, of each column. taken: keys that have a meaning; those of these
    columns are added. Raises DataError where a prefix does not help.
    """
    names: dict[str, str] = {}
    for prefixed in (False, True):
        for column in sorted(kinds.keys() - names.keys()):
            name = prefix + column if prefixed else column
            keys = _keys(name, kinds[column], of_item=prefix == ITEM_PREFIX)
            if not keys & taken and (prefixed or column not in clash):
                taken |= keys
                names[column] = name
            elif prefixed:
                raise DataError(
                    f"side column {column!r} would be read under {sorted(keys)}, and another "
                    f"column or we have {sorted(keys & taken)} already; rename it, or leave it "
                    f"out: features.exclude=[{column}]"
                )
    return names


def _keys(name: str, kind: str, *, of_item: bool) -> set[str]:
    """Keys of a batch that a column of this name and kind may come to have."""
    if kind == "dense":
        return {name, name + MISSING_SUFFIX}
    names = {name, f"{HISTORY}_{name}"} if of_item else {name}
    return names | {f"{n}_length" for n in names} if kind == "multi" else names
