"""MovieLens 100k in GroupLens' own files or RecBole's; both give the same table.

The README of GroupLens' archive documents u.data, u.item and u.user. The data may not be
redistributed: they are read from a folder of the user's, or fetched when asked for.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from rechub_cli.data.assemble import Events, assemble
from rechub_cli.data.columns import NumberColumn
from rechub_cli.data.download import FOLDER, cache_dir, download_ml_100k
from rechub_cli.data.files import TextFormat
from rechub_cli.data.filters import FilterOptions
from rechub_cli.data.ids import IdColumn, Ids
from rechub_cli.data.raw import ITEM, RATING, TIMESTAMP, USER, Identity, RawData
from rechub_cli.data.side_tables import SideRows
from rechub_cli.data.text import column_names, read_text
from rechub_cli.data.times import TimeColumn
from rechub_cli.errors import DataError

__all__ = ["canonical_hash", "dataset_folder", "download_ml_100k", "read_ml_100k"]

GROUPLENS = ("u.data", "u.item", "u.user")
RECBOLE = ("ml-100k.inter", "ml-100k.item", "ml-100k.user")
GENRES = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)
"""In the order of u.item's flags."""
EVENT_COLUMNS = ("user_id", "item_id", "rating", "timestamp")
USER_COLUMNS = ("user_id", "age", "gender", "occupation", "zip_code")
RECBOLE_EVENT_COLUMNS = ("user_id:token", "item_id:token", "rating:float", "timestamp:float")
RECBOLE_ITEM_COLUMNS = ("item_id", "title", "release_year", "class")
ITEM_COLUMNS = ("item_id", "title", "release_date", "video_release_date", "url", *GENRES)
YEAR_IN_TITLE = r"(?s).*\((?P<year>[0-9]{4})\)"
INTERACTIONS_HASH = "04e542d7e879830d1adb8ce68e87d642301d0d455488e9ee591cc39a93495523"
"""canonical_hash of the published interactions, in the files' order."""


def read_ml_100k(
    path: str | Path | None,
    *,
    rating_threshold: float | None = None,
    filters: FilterOptions | None = None,
) -> RawData:
    """Read MovieLens 100k.

    path: a folder with u.data, u.item and u.user, or ml-100k.inter, .item and .user; None is the
    cache. Users: age (float64), gender, occupation, zip_code. Items: release_year (int64, the year
    in the title's brackets), genres (list of string, in u.item's order).
    Raises DataError: no such folder or files, unusable content.
    """
    folder = dataset_folder(path)
    grouplens = (folder / GROUPLENS[0]).is_file()
    events = _events(folder / GROUPLENS[0]) if grouplens else _events(folder / RECBOLE[0])
    identity = _identity(events)
    if not identity.published:
        note = (
            f"not the published ml-100k: {folder} holds other interactions "
            f"({len(events.user.codes):,} rows), so published figures do not apply"
        )
        events = events.noting(note)
    return assemble(
        events,
        items=_grouplens_items(folder) if grouplens else _recbole_items(folder),
        users=_grouplens_users(folder) if grouplens else _recbole_users(folder),
        rating_threshold=rating_threshold,
        filters=filters or FilterOptions(),
        identity=identity,
    )


def dataset_folder(path: str | Path | None) -> Path:
    """The folder with one of the two forms. Raises DataError: none, or a file is missing."""
    if path is None:
        folder = cache_dir() / FOLDER
        if not folder.is_dir():
            raise DataError(
                f"ml_100k is not in the cache ({folder}): `rechub data ml_100k` downloads it from "
                "GroupLens, or set data.path to a folder that has it"
            )
    else:
        folder = Path(path).expanduser()
    for names in (GROUPLENS, RECBOLE):
        if (folder / names[0]).is_file():
            for name in names:
                if not (folder / name).is_file():
                    raise DataError(f"{folder}: {name} is missing beside {names[0]}")
            return folder
    raise DataError(
        f"data.path={folder}: found neither {', '.join(GROUPLENS)} nor {', '.join(RECBOLE)}; "
        "give a folder that holds them, or data.path=null and `rechub data ml_100k` (a download)"
    )


def canonical_hash(table: pa.Table) -> str:
    """SHA-256 over the names and little-endian values of the interactions, in row order."""
    digest = hashlib.sha256()
    for name, kind in ((USER, "<i8"), (ITEM, "<i8"), (RATING, "<f8"), (TIMESTAMP, "<i8")):
        digest.update(name.encode())
        digest.update(table[name].to_numpy().astype(kind).tobytes())
    return digest.hexdigest()


def _events(path: Path) -> Events:
    layout = TextFormat("\t", EVENT_COLUMNS if path.name == GROUPLENS[0] else None)
    names = EVENT_COLUMNS if layout.column_names else RECBOLE_EVENT_COLUMNS
    column_names(path, layout, required=names)
    user, item = IdColumn(from_text=True), IdColumn(from_text=True)
    rating, time = NumberColumn("rating"), TimeColumn()
    read_text(path, layout, dict(zip(names, (user, item, rating, time), strict=True)))
    ids = user.finish(), item.finish()
    columns = {RATING: rating.finish(), TIMESTAMP: time.finish()}
    return Events(*ids, columns, timestamp_unit=time.unit, notes=tuple(time.notes))


def _identity(events: Events) -> Identity:
    found = canonical_hash(_table(events))
    if found == INTERACTIONS_HASH:
        return Identity("GroupLens' ml-100k", found, published=True)
    return Identity("not GroupLens' ml-100k", found, published=False)


def _table(events: Events) -> pa.Table:
    return pa.table({USER: events.user.decode(), ITEM: events.item.decode(), **events.columns})


def _grouplens_users(folder: Path) -> SideRows:
    return _user_rows(_strings(folder / "u.user", "|", names=USER_COLUMNS, encoding="latin-1"))


def _recbole_users(folder: Path) -> SideRows:
    return _user_rows(_strings(folder / "ml-100k.user", "\t", names=USER_COLUMNS))


def _grouplens_items(folder: Path) -> SideRows:
    table = _strings(folder / "u.item", "|", names=ITEM_COLUMNS, encoding="latin-1")
    flags = np.stack([pc.equal(table[genre], "1").to_numpy() for genre in GENRES], axis=1)
    return _item_rows(table, year=_year(table["title"]), flags=flags)


def _recbole_items(folder: Path) -> SideRows:
    table = _strings(folder / "ml-100k.item", "\t", names=RECBOLE_ITEM_COLUMNS)
    words = pc.split_pattern(table["class"], " ").combine_chunks()
    flags = np.zeros((len(words), len(GENRES)), dtype=bool)
    rows = np.repeat(np.arange(len(words)), pc.list_value_length(words).to_numpy())
    known = pc.index_in(words.flatten(), pa.array(GENRES))
    flags[rows, known.fill_null(0).to_numpy()] |= known.is_valid().to_numpy(zero_copy_only=False)
    is_year = pc.match_substring_regex(table["release_year"], "^[0-9]{4}$")
    year = pc.if_else(is_year, table["release_year"], pa.scalar(None, pa.string()))
    # One title kept its year because "(V)" follows it; RecBole took the V for the year.
    return _item_rows(
        table, year=pc.coalesce(year.cast(pa.int64()), _year(table["title"])), flags=flags
    )


def _year(titles: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.struct_field(pc.extract_regex(titles, YEAR_IN_TITLE), "year").cast(pa.int64())


def _item_rows(table: pa.Table, *, year: pa.ChunkedArray, flags: npt.NDArray[np.bool_]) -> SideRows:
    """flags: bool [rows, genres]."""
    offsets = np.concatenate([[0], np.cumsum(flags.sum(axis=1))]).astype(np.int32)
    names = pa.array(GENRES).take(pa.array(flags.nonzero()[1]))
    genres = pa.ListArray.from_arrays(pa.array(offsets), names)
    return SideRows(_keys(table["item_id"]), {"release_year": year, "genres": genres})


def _user_rows(table: pa.Table) -> SideRows:
    return SideRows(_keys(table["user_id"]), {name: table[name] for name in USER_COLUMNS[1:]})


def _keys(texts: pa.ChunkedArray) -> Ids:
    ids = IdColumn(from_text=True)
    ids.add(ids.parse(texts.combine_chunks()))
    return ids.finish()


def _strings(
    path: Path, separator: str, *, names: tuple[str, ...], encoding: str = "utf8"
) -> pa.Table:
    """All columns of a small text file as string (age: float64), without quoting."""
    header = path.name.startswith("ml-100k")
    try:
        return pa.csv.read_csv(
            path,
            read_options=pa.csv.ReadOptions(
                column_names=list(names), skip_rows=int(header), encoding=encoding
            ),
            parse_options=pa.csv.ParseOptions(delimiter=separator, quote_char=False),
            convert_options=pa.csv.ConvertOptions(
                column_types={**dict.fromkeys(names, pa.string()), "age": pa.float64()},
                strings_can_be_null=False,
            ),
        )
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            f"{path}: not the published file, whose columns are {', '.join(names)}: {error}"
        ) from None
