"""Indexed tables kept on disk: a second start on the same files maps them instead of reading.

A file is one Arrow record batch of one row, each column the list of an array's values, behind a
header of HEADER bytes: MAGIC and the SHA-256 of the rest. Its name is the key: a hash of the
sources' content, of the settings that the tables follow from, and of the versions. Whatever does
not fit is no hit.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa

from rechub_cli._version import __version__
from rechub_cli.data.interactions import Catalogue, Indexed, Interactions, UserTable
from rechub_cli.data.raw import About, Identity

FORMAT = 1
MAGIC = b"rechub-prepared\n"
HEADER = 64
"""Bytes before the Arrow file: as many as it aligns its buffers to."""
EVENT_ARRAYS = ("items", "timestamps", "weights", "parts")


@dataclass(frozen=True)
class Source:
    """What prepared tables follow from.

    files: in reading order. settings: JSON values, free of places.
    """

    files: Sequence[Path]
    settings: Mapping[str, Any]

    def key(self) -> str:
        """SHA-256 of names and contents of the files, the settings and the versions.

        Raises OSError where a file cannot be read.
        """
        content = {
            "format": FORMAT,
            "versions": [__version__, pa.__version__, np.__version__],
            "settings": self.settings,
            "files": [(file.name, _file_hash(file)) for file in self.files],
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def through_cache(folder: Path, source: Source, make: Callable[[], Indexed]) -> Indexed:
    """The tables of ``source``: from the cache, else made and put there; a note says which.

    A cache that cannot be read or written costs a note, never the run.
    """
    start = time.perf_counter()
    try:
        key = source.key()
    except OSError:
        return make()  # which says what is wrong with the file
    hashing = f"hashing the files took {time.perf_counter() - start:.1f} s"
    path = folder / f"{key}.arrow"
    tables = read(path)
    did = f"read {path}"
    if tables is None:
        tables = make()
        did = _store(path, source, tables)
    return tables.noting(f"cache: {did}; {hashing}")


def _store(path: Path, source: Source, tables: Indexed) -> str:
    """Put tables into the cache. Returns what came of it."""
    try:
        # Files that changed while they were read are not what the key says.
        if source.key() != path.stem:
            return "not written, the files changed while they were read"
        path.parent.mkdir(parents=True, exist_ok=True)
        written = write(path, tables)
    except OSError as error:
        return f"not written in {path.parent} ({error.strerror or error}), going on without"
    return f"wrote {path}" if written else "not written, another process is writing it"


def write(path: Path, tables: Indexed) -> bool:
    """Write a file whole or not at all; False where another process is writing it.

    Raises OSError: no space, no permission.
    """
    fresh = path.with_suffix(".partial")
    with open(os.open(fresh, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as file:
        # The lock goes with its process: what a killed writer left is written over.
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if not _still(fresh, file):
            return False
        try:
            _write_tables(file, tables)
            os.replace(fresh, path)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
    return True


def _still(path: Path, file: IO[bytes]) -> bool:
    """Whether an open file is the one of that name: its last writer may have renamed it."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _write_tables(file: IO[bytes], tables: Indexed) -> None:
    batch, sink = _to_batch(tables), _Hashing(file)
    file.truncate(0)
    file.write(bytes(HEADER))
    with pa.ipc.new_file(pa.PythonFile(sink, mode="w"), batch.schema) as writer:
        writer.write_batch(batch)
    file.seek(0)
    file.write(MAGIC + sink.digest.digest())
    file.flush()
    os.fsync(file.fileno())


class _Hashing:
    """A file that hashes what is written to it."""

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.digest = file, hashlib.sha256()

    def write(self, data: Any) -> int:
        self.digest.update(data)
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()

    def close(self) -> None: ...


def read(path: Path) -> Indexed | None:
    """The tables of a file, memory-mapped; None where it is absent, cut short or damaged."""
    try:
        content = pa.memory_map(str(path)).read_buffer()
    except (OSError, pa.ArrowInvalid):
        return None
    if content.size <= HEADER:
        return None
    body = content.slice(HEADER)
    mark = MAGIC + hashlib.sha256(body).digest()
    if content.slice(0, len(mark)).to_pybytes() != mark:
        return None
    return _from_batch(pa.ipc.open_file(body).get_batch(0))


def _to_batch(tables: Indexed) -> pa.RecordBatch:
    events = tables.interactions
    arrays = {"offsets": events.offsets}
    arrays |= {name: getattr(events, name) for name in EVENT_ARRAYS}
    columns = {name: pa.array(a) for name, a in arrays.items() if a is not None}
    columns |= {f"context/{name}": column for name, column in events.context.items()}
    for side, table in (("item", tables.catalogue), ("user", tables.users)):
        columns |= {f"{side}_ids": table.ids}
        columns |= {f"{side}/{name}": column for name, column in table.features.items()}
    lists = [pa.LargeListArray.from_arrays([0, len(c)], c) for c in columns.values()]
    batch = pa.RecordBatch.from_arrays(lists, names=list(columns))
    return batch.replace_schema_metadata({"about": json.dumps(asdict(tables.about))})


def _from_batch(batch: pa.RecordBatch) -> Indexed:
    columns = {name: batch.column(name).values for name in batch.schema.names}
    arrays = {n: columns[n].to_numpy() for n in ("offsets", *EVENT_ARRAYS) if n in columns}
    for name in arrays.keys() & {"offsets", "weights"}:
        arrays[name] = arrays[name].copy()  # torch shares them, and warns of what is read-only
    interactions = Interactions(
        num_items=len(columns["item_ids"]), context=_group(columns, "context"), **arrays
    )
    about = json.loads(batch.schema.metadata[b"about"])
    identity = about.pop("identity")
    notes = tuple(about.pop("notes"))
    return Indexed(
        interactions,
        Catalogue(columns["item_ids"], _group(columns, "item")),
        UserTable(columns["user_ids"], _group(columns, "user")),
        About(notes=notes, identity=None if identity is None else Identity(**identity), **about),
    )


def _group(columns: Mapping[str, pa.Array], group: str) -> dict[str, pa.Array]:
    start = f"{group}/"
    return {n.removeprefix(start): column for n, column in columns.items() if n.startswith(start)}


def _file_hash(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
