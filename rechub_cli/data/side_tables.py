"""Item and user tables: one row a key, every other column a feature."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rechub_cli.data.columns import parse_ids, settle_ids
from rechub_cli.data.files import TextOptions, file_format, read_file
from rechub_cli.errors import DataError
from rechub_cli.suggest import did_you_mean


def read_side_table(
    files: list[Path], *, key: str, name: str, interactions: pa.Table, text: TextOptions
) -> tuple[pa.Table, pa.Table, tuple[str, int] | None]:
    """The table with its key column renamed to ``name`` and typed as the interactions' ids.

    Returns the side table, the interactions (their ids as text where the two disagree on the
    type), and a note with a count where interactions have keys that the table lacks.
    Raises DataError for a missing key column and for duplicate keys.
    """
    parts = []
    for file in files:
        one = read_file(file, kind=file_format(file, "auto"), text=text, infer=True)
        if key not in one.table.column_names:
            raise DataError(
                f"{file}: no key column {key!r} (data.{name}s.key); the file has "
                f"{one.table.column_names}.{did_you_mean(key, one.table.column_names)}"
            )
        ids = parse_ids(one.table[key].combine_chunks(), key, one.source)
        rest = one.table.drop_columns([key])
        parts.append(rest.add_column(0, name, ids))
    table = pa.concat_tables(parts, promote_options="default")
    table = table.set_column(0, name, settle_ids(table[name]))
    _refuse_duplicates(table[name], key, files)
    table, interactions = _one_type(table, interactions, name)
    known = pc.is_in(interactions[name].unique(), table[name].combine_chunks())
    absent = len(known) - pc.sum(known).as_py()
    if absent == len(known):
        raise DataError(
            f"{files[0]}: none of the {absent:,} {name} ids of the interactions is in its column "
            f"{key!r} (there {table[name][0].as_py()!r}, here {interactions[name][0].as_py()!r})"
        )
    note = (
        f"{absent:,} {name}s of the interactions have no row in {files[0].name}: "
        "their features are unknown (OOV)"
    )
    return table, interactions, (note, absent) if absent else None


def _refuse_duplicates(keys: pa.ChunkedArray, column: str, files: list[Path]) -> None:
    codes = keys.combine_chunks().dictionary_encode().indices.to_numpy()
    counts = np.bincount(codes)
    if counts.max(initial=0) <= 1:
        return
    code = int(codes[np.flatnonzero(counts[codes] > 1)[0]])
    rows = np.flatnonzero(codes == code)[:2] + 1
    raise DataError(
        f"{', '.join(str(f) for f in files)}: column {column!r} has the key "
        f"{keys[int(rows[0]) - 1].as_py()!r} in rows {rows[0]} and {rows[1]}; a key may stand once "
        f"({int((counts > 1).sum()):,} keys stand more than once)"
    )


def _one_type(
    table: pa.Table, interactions: pa.Table, name: str
) -> tuple[pa.Table, pa.Table]:
    if table[name].type == interactions[name].type:
        return table, interactions
    # int64 ids that came from text are canonical, so nothing is lost as text.
    index = interactions.column_names.index(name)
    return (
        table.set_column(0, name, table[name].cast(pa.string())),
        interactions.set_column(index, name, interactions[name].cast(pa.string())),
    )
