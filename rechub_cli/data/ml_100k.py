"""MovieLens 100k in both of its public forms: GroupLens' u.* files and RecBole's ml-100k.*."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import urllib.request
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from rechub_cli.data.filters import FilterOptions, apply_filters
from rechub_cli.data.raw import ITEM, RATING, TIMESTAMP, USER, RawData
from rechub_cli.errors import DataError, RechubError

URL = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
MD5 = "0e33842e24a9c977be4e0107933c0723"
"""As published beside the archive."""
CANONICAL_HASH = "04e542d7e879830d1adb8ce68e87d642301d0d455488e9ee591cc39a93495523"
"""canonical_hash of the published interactions, whichever form they were read from."""
FOLDER = "ml-100k"
GENRES = (
    "unknown Action Adventure Animation Children's Comedy Crime Documentary Drama Fantasy "
    "Film-Noir Horror Musical Mystery Romance Sci-Fi Thriller War Western"
).split()
"""In the order of the flags of u.item (u.genre)."""


def cache_dir() -> Path:
    """RECHUB_CACHE, else XDG_CACHE_HOME/rechub, else ~/.cache/rechub."""
    if own := os.environ.get("RECHUB_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rechub"


def read_ml_100k(
    path: str | None, *, rating_threshold: float | None, filters: FilterOptions
) -> RawData:
    """Read the folder ``path``, or the cache. Raises DataError where the files are not there."""
    folder = cache_dir() / FOLDER if path is None else Path(path)
    if (folder / "u.data").exists():
        table, items, users = _grouplens(folder)
    elif (folder / "ml-100k.inter").exists():
        table, items, users = _recbole(folder)
    elif path is None:
        raise DataError(
            "data=ml_100k: no copy in the cache; `rechub data ml_100k` downloads it from "
            "GroupLens, or name a folder that has it in data.path"
        )
    else:
        raise DataError(
            f"data.path={path}: neither u.data (GroupLens) nor ml-100k.inter (RecBole) is there"
        )
    notes = ()
    if canonical_hash(table) != CANONICAL_HASH:
        notes = (
            f"the interactions in {folder} are not those of the published ml-100k "
            f"({table.num_rows:,} rows): figures cannot be compared",
        )
    table, counts = apply_filters(table, rating_threshold=rating_threshold, options=filters)
    return RawData(table, items, users, notes, counts, "s")


def canonical_hash(table: pa.Table) -> str:
    """SHA-256 over the columns' names and little-endian values, in row order."""
    digest = hashlib.sha256()
    for name in (USER, ITEM, RATING, TIMESTAMP):
        kind = pa.float64() if name == RATING else pa.int64()
        digest.update(name.encode())
        digest.update(table[name].cast(kind).to_numpy().astype(f"<{'f' if name == RATING else 'i'}8").tobytes())
    return digest.hexdigest()


def download_ml_100k(cache: Path | None = None, *, url: str = URL, md5: str = MD5) -> Path:
    """Fetch, verify and unpack the archive into the cache; the folder appears whole.

    Raises RechubError where the download fails or its MD5 is not the published one.
    """
    cache = cache or cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        archive = Path(scratch) / "ml-100k.zip"
        try:
            with urllib.request.urlopen(url, timeout=60) as source, archive.open("wb") as target:
                shutil.copyfileobj(source, target)
        except OSError as error:
            raise RechubError(
                f"{url} could not be downloaded ({error}); fetch it by hand, unpack it and name "
                "the folder in data.path"
            ) from None
        found = hashlib.md5(archive.read_bytes(), usedforsecurity=False).hexdigest()
        if found != md5:
            raise RechubError(
                f"{url}: MD5 {found}, published {md5}: the download is damaged or another file; "
                "nothing was kept"
            )
        with zipfile.ZipFile(archive) as zipped:
            for name in ("u.data", "u.item", "u.user", "README"):
                zipped.extract(f"{FOLDER}/{name}", scratch)
        target_folder = cache / FOLDER
        shutil.rmtree(target_folder, ignore_errors=True)
        os.replace(Path(scratch) / FOLDER, target_folder)
    return target_folder


def _rows(path: Path, separator: str, encoding: str) -> list[list[str]]:
    if not path.exists():
        raise DataError(f"{path}: missing; the folder needs all three files of its form")
    lines = path.read_text(encoding=encoding).splitlines()
    return [line.split(separator) for line in lines if line]


def _grouplens(folder: Path) -> tuple[pa.Table, pa.Table, pa.Table]:
    data = _rows(folder / "u.data", "\t", "latin-1")
    items = [
        (r[0], _year(r[1]), [g for g, flag in zip(GENRES, r[5:], strict=True) if flag == "1"])
        for r in _rows(folder / "u.item", "|", "latin-1")
    ]
    users = _rows(folder / "u.user", "|", "latin-1")
    return _interactions(data), _items(items), _users(users)


def _recbole(folder: Path) -> tuple[pa.Table, pa.Table, pa.Table]:
    data, items, users = (
        _rows(folder / f"ml-100k.{kind}", "\t", "utf-8")[1:] for kind in ("inter", "item", "user")
    )
    genres = [(r[0], r[2] if r[2].isdigit() else None, [g for g in GENRES if g in r[3].split()]) for r in items]
    return _interactions(data), _items(genres), _users(users)


def _year(title: str) -> str | None:
    """The year in the parentheses that end a title."""
    year = title.rstrip()[-5:-1]
    return year if title.rstrip().endswith(")") and year.isdigit() else None


def _interactions(rows: list[list[str]]) -> pa.Table:
    user, item, rating, time = (pa.array(c) for c in zip(*rows, strict=True))
    return pa.table(
        {
            USER: user.cast(pa.int64()),
            ITEM: item.cast(pa.int64()),
            RATING: rating.cast(pa.float64()),
            TIMESTAMP: time.cast(pa.int64()),
        }
    )


def _items(rows: list[tuple[str, str | None, list[str]]]) -> pa.Table:
    ids, years, genres = (list(c) for c in zip(*rows, strict=True))
    return pa.table(
        {
            ITEM: pa.array(ids).cast(pa.int64()),
            "release_year": pa.array(years, pa.string()).cast(pa.int64()),
            "genres": pa.array(genres, pa.list_(pa.string())),
        }
    )


def _users(rows: list[list[str]]) -> pa.Table:
    ids, age, gender, occupation, zip_code = (pa.array(c) for c in zip(*rows, strict=True))
    return pa.table(
        {
            USER: ids.cast(pa.int64()),
            "age": pc.cast(age, pa.float64()),
            "gender": gender,
            "occupation": occupation,
            "zip_code": zip_code,
        }
    )
