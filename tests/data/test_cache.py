"""Prepared tables on disk: equal to those made anew, and never stale, half-written or damaged."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rechub_cli.data import cache
from rechub_cli.data.cache import Source, read, through_cache, write
from rechub_cli.data.interactions import Indexed, index_raw
from rechub_cli.data.raw import Identity, RawData
from rechub_cli.data.readers import ColumnNames, SideTable, read_table
from tests.benchmarks.synthetic import shipped

SPLITTING = ("data.columns.split", "data.split")
COLUMNS = ColumnNames(weight="weight", split="part", context=("place",))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A table with every kind of column, and its side tables."""
    events = {
        "user_id": ["b", "a", "b", "a", "c", "b"],
        "item_id": [7, 5, 5, 7, 9, 9],
        "timestamp": [100_000_003, 100_000_002, 100_000_001, 100_000_004, 100_000_005, 100_000_006],
        "weight": [1.0, 0.5, 2.0, 1.0, 1.0, 3.0],
        "part": ["train", "train", "train", "test", "train", "valid"],
        "place": ["x", None, "y", "x", "z", "x"],
    }
    pq.write_table(pa.table(events), tmp_path / "e.parquet")
    items = {"item_id": [5, 7, 8], "tags": [["u", "v"], [], None], "price": [1.5, None, 2.0]}
    pq.write_table(pa.table(items), tmp_path / "items.parquet")
    pq.write_table(pa.table({"user_id": ["a", "b"], "age": [3, 4]}), tmp_path / "users.parquet")
    return tmp_path


def make(folder: Path) -> Indexed:
    raw = read_table(
        folder / "e.parquet",
        columns=COLUMNS,
        items=SideTable(folder / "items.parquet"),
        users=SideTable(folder / "users.parquet"),
    )
    named = RawData(
        raw.events,
        raw.items,
        raw.users,
        notes=raw.notes,
        counts=raw.counts,
        timestamp_unit=raw.timestamp_unit,
        identity=Identity("some set", "0" * 64, published=False),
    )
    return index_raw(named)


def source(folder: Path, **settings: Any) -> Source:
    files = [folder / f"{name}.parquet" for name in ("e", "items", "users")]
    return Source(files, {"n": 1, **settings})


def go(folder: Path, **settings: Any) -> tuple[Indexed, str]:
    """The tables through the cache, and what the cache said."""
    tables = through_cache(folder / "kept", source(folder, **settings), lambda: make(folder))
    return tables, tables.about.notes[-1]


def plain(tables: Indexed) -> list[Any]:
    events, catalogue, users, about = tables
    arrays = (events.offsets, events.items, events.timestamps, events.weights, events.parts)
    return [
        *((a.dtype, a.tolist()) for a in arrays if a is not None),
        events.num_items,
        *(
            {name: (column.type, column.to_pylist()) for name, column in columns.items()}
            for columns in (events.context, catalogue.features, users.features)
        ),
        *((ids.type, ids.to_pylist()) for ids in (catalogue.ids, users.ids)),
        [note for note in about.notes if not note.startswith("cache: ")],
        (about.counts, about.timestamp_unit, about.identity),
    ]


def saved(folder: Path) -> list[Path]:
    return sorted((folder / "kept").glob("*.arrow"))


def test_a_second_start_reads_what_the_first_made(folder: Path) -> None:
    first, said = go(folder)
    assert said.startswith("cache: wrote ")
    assert "hashing the files took" in said
    second = through_cache(folder / "kept", source(folder), lambda: pytest.fail("made again"))
    assert second.about.notes[-1].startswith("cache: read ")
    assert plain(first) == plain(second) == plain(make(folder))
    assert second.interactions.offsets.flags.writeable
    assert [f.suffix for f in (folder / "kept").iterdir()] == [".arrow"]


def test_changed_content_of_one_size_and_time_is_read_anew(folder: Path) -> None:
    go(folder)
    file = folder / "e.parquet"
    stat, content = file.stat(), file.read_bytes()
    table = pq.read_table(file)
    pq.write_table(table.set_column(1, "item_id", pa.array([7, 5, 5, 7, 9, 7])), file)
    changed = file.read_bytes()
    assert len(changed) == len(content)
    assert changed != content
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    tables, said = go(folder)
    assert said.startswith("cache: wrote ")
    assert plain(tables) == plain(make(folder))
    assert tables.interactions.items.tolist() == [0, 1, 0, 1, 1, 3]


def test_other_settings_names_and_versions_are_other_keys(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [source(folder).key(), source(folder, n=2).key()]
    (folder / "f.parquet").write_bytes((folder / "e.parquet").read_bytes())
    keys.append(Source([folder / "f.parquet", *source(folder).files[1:]], {"n": 1}).key())
    for name, value in (("FORMAT", 0), ("__version__", "0.0.0")):
        monkeypatch.setattr(cache, name, value)
        keys.append(source(folder).key())
        monkeypatch.undo()
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("keep", [0, 40, 500, -1])
def test_a_file_cut_short_is_made_again(folder: Path, keep: int) -> None:
    go(folder)
    (path,) = saved(folder)
    whole = path.read_bytes()
    path.write_bytes(whole[:keep])
    tables, said = go(folder)
    assert said.startswith("cache: wrote ")
    assert plain(tables) == plain(make(folder))
    assert path.read_bytes() == whole


def test_any_flipped_byte_is_noticed(folder: Path) -> None:
    go(folder)
    (path,) = saved(folder)
    whole = path.read_bytes()
    for at in (0, 20, cache.HEADER + 9, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert read(path) is None


KILLED = """
import os, sys
from pathlib import Path
from rechub_cli.data import cache
from tests.data.test_cache import go
cache.os.fsync = lambda _: os._exit(9)
go(Path(sys.argv[1]))
"""


def test_what_a_killed_writer_left_is_no_hit_and_no_hindrance(folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=False)
    assert done.returncode == 9
    (left,) = (folder / "kept").iterdir()
    assert left.suffix == ".partial"
    assert go(folder)[1].startswith("cache: wrote ")
    assert [f.suffix for f in (folder / "kept").iterdir()] == [".arrow"]


def test_a_second_writer_leaves_the_first_alone(folder: Path) -> None:
    path = folder / "kept" / f"{source(folder).key()}.arrow"
    path.parent.mkdir()
    with path.with_suffix(".partial").open("wb") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        first.write(b"half of it")
        first.flush()
        tables, said = go(folder)
        assert said.startswith("cache: not written, another process is writing it")
        assert plain(tables) == plain(make(folder))
        assert path.with_suffix(".partial").read_bytes() == b"half of it"
    assert go(folder)[1].startswith("cache: wrote ")


def test_a_writer_who_waited_does_not_touch_the_renamed_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "e.arrow"
    lock = fcntl.flock

    def finish_first(file: Any, how: int) -> None:
        os.replace(path.with_suffix(".partial"), path)
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", finish_first)
    path.with_suffix(".partial").write_bytes(b"whole")
    assert not write(path, make(folder))
    assert path.read_bytes() == b"whole"


def test_a_full_disk_costs_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    tables, said = go(folder)
    where = f"cache: not written in {folder / 'kept'} (No space left on device), going on without; "
    assert said.startswith(where)
    assert "\n" not in said
    assert plain(tables) == plain(make(folder))
    assert list((folder / "kept").iterdir()) == []


def test_files_that_change_while_they_are_read_are_not_kept(folder: Path) -> None:
    def swap() -> Indexed:
        tables = make(folder)
        (folder / "users.parquet").write_bytes((folder / "items.parquet").read_bytes())
        return tables

    said = through_cache(folder / "kept", source(folder), swap).about.notes[-1]
    assert said.startswith("cache: not written, the files changed while they were read")
    assert not (folder / "kept").exists()


def words(folder: Path, kept: str) -> list[str]:
    names = {"weight": "weight", "split": "part", "context": "[place]"}
    return [
        "data=table",
        f"data.path={folder}/e.parquet",
        f"data.items.path={folder}/items.parquet",
        f"data.users.path={folder}/users.parquet",
        *(f"data.columns.{role}={name}" for role, name in names.items()),
        "data.split.method=given",
        "model=dssm",
        f"data.cache={kept}",
    ]


def test_a_run_has_one_fingerprint_with_and_without(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rechub_cli.fingerprint import fingerprint
    from rechub_cli.runs import load_data

    monkeypatch.setenv("RECHUB_CACHE", str(folder / "home"))
    marks = []
    for kept in ("false", "true", "true", f"{folder}/kept", f"{folder}/kept"):
        config = shipped(*words(folder, kept))
        data, _ = load_data(config)
        marks.append(fingerprint(config, data))
        assert any(n.startswith("cache: ") for n in data.about.notes) == (kept != "false")
    assert all(mark == marks[0] for mark in marks)
    assert [f.name for f in (folder / "home" / "prepared").iterdir()] == [
        f.name for f in saved(folder)
    ]


def test_the_split_is_no_part_of_what_is_kept(folder: Path) -> None:
    from rechub_cli.sources import load_tables

    base = [w for w in words(folder, f"{folder}/kept") if not w.startswith(SPLITTING)]
    for method in ("leave_one_out", "time"):
        load_tables(shipped(*base, f"data.split.method={method}").data)
    assert len(saved(folder)) == 1
    load_tables(shipped(*base, "data.filters.min_user_events=2").data)
    assert len(saved(folder)) == 2
