"""Public data sets that come as each user's items in order, without times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rechub_cli.data.assemble import Events, assemble
from rechub_cli.data.columns import NumberColumn
from rechub_cli.data.download import cache_dir
from rechub_cli.data.filters import FilterOptions
from rechub_cli.data.ids import IdColumn
from rechub_cli.data.parquet import parquet_schema, read_parquet, refuse_type
from rechub_cli.data.published import PublishedSet, identify
from rechub_cli.data.raw import ITEM, USER, RawData
from rechub_cli.data.sequences import read_sequences
from rechub_cli.data.side_tables import SideRows, read_side_table
from rechub_cli.errors import DataError

PARQUET = "interactions.parquet"
USER_COLUMN, ITEM_COLUMN, POSITION = "user_id", "item_id", "position"
SIDE_FILES = {ITEM: ("items.parquet", ITEM_COLUMN), USER: ("users.parquet", USER_COLUMN)}


@dataclass(frozen=True)
class OrderedFile:
    """Where a set lies. folder: where its side tables are, None where a file was named."""

    interactions: Path
    folder: Path | None


def find_ordered(path: str | Path | None, *, name: str, folder: str, text: str) -> OrderedFile:
    """The interactions of a set.

    path: a file, a folder, or None: the cache. name: the option of ``data``. folder: of the
    cache. text: the name of the set's text file, looked for beside ``interactions.parquet``.
    Raises DataError: nothing there.
    """
    if path is not None and Path(path).expanduser().is_file():
        return OrderedFile(Path(path).expanduser(), None)
    place = cache_dir() / folder if path is None else Path(path).expanduser()
    for file in (place / PARQUET, place / text):
        if file.is_file():
            return OrderedFile(file, place)
    if path is None:
        raise DataError(
            f"{name}: neither {PARQUET} nor {text} is in the cache ({place}); `rechub data {name}` "
            "says where to get it, or set data.path to a file or folder that has it"
        )
    raise DataError(
        f"data.path={place}: found neither {PARQUET} nor {text}; give one of them, or a folder "
        f"that holds one (`rechub data {name}` says where to get it)"
    )


def read_published(
    path: str | Path | None,
    published: PublishedSet,
    *,
    name: str,
    folder: str,
    text: str,
    items: Callable[[OrderedFile], SideRows | None],
    filters: FilterOptions | None,
) -> RawData:
    """Read a set and say which preprocessing it is.

    path, name, folder, text: see find_ordered. items: reads the item table that lies beside the
    interactions, where there is one. Raises DataError: no such file, unusable content.
    """
    file = find_ordered(path, name=name, folder=folder, text=text)
    events = read_ordered(file.interactions)
    identity, notes = identify(events, published)
    return assemble(
        events.noting(*notes),
        items=items(file),
        users=read_side(file, USER),
        rating_threshold=None,
        filters=filters or FilterOptions(),
        identity=identity,
    )


def read_ordered(path: Path) -> Events:
    """Read ``user item`` lines, ``user item item ...`` lines, or Parquet (by its ending).

    Parquet: user_id, item_id and, unless the rows stand in order, position within the user.
    Raises DataError: unusable content, with its line or row.
    """
    user, item = IdColumn(from_text=True), IdColumn(from_text=True)
    if path.suffix not in (".parquet", ".pq"):
        if read_sequences(path, user=user, item=item, separator=None) == 0:
            raise DataError(f"{path}: no data rows")
        return Events(user.finish(), item.finish(), {})
    schema = parquet_schema(path, required=(USER_COLUMN, ITEM_COLUMN))
    columns: dict[str, IdColumn | NumberColumn] = {USER_COLUMN: user, ITEM_COLUMN: item}
    for name in columns:
        refuse_type(path, schema, name, role="id")
    position = NumberColumn(POSITION)
    if POSITION in schema.names:
        refuse_type(path, schema, POSITION, role="number")
        columns[POSITION] = position
    if read_parquet(path, columns) == 0:
        raise DataError(f"{path}: no data rows")
    events = Events(user.finish(), item.finish(), {})
    return _in_order(events, position.finish().to_numpy()) if POSITION in columns else events


def read_side(file: OrderedFile, name: str, *, drop: tuple[str, ...] = ()) -> SideRows | None:
    """The side table beside the interactions, None where there is none.

    name: ``item`` or ``user``. drop: columns that are no features.
    """
    if file.folder is None:
        return None
    table, key = SIDE_FILES[name]
    if not (file.folder / table).is_file():
        return None
    rows = read_side_table(file.folder / table, key=key, setting=f"data.{name}s", name=name)
    return replace(rows, features={n: c for n, c in rows.features.items() if n not in drop})


def _in_order(events: Events, position: npt.NDArray[np.float64]) -> Events:
    """The events by user, then position [E]; a stable sort."""
    order = np.lexsort((position, events.user.codes))
    user, item = (replace(ids, codes=ids.codes[order]) for ids in (events.user, events.item))
    return replace(events, user=user, item=item)
