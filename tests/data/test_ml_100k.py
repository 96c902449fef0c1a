"""MovieLens 100k: both public forms give one table; the download is checked before it is used."""

from __future__ import annotations

import hashlib
import re
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest

from rechub_cli.data.download import cache_dir, download_ml_100k
from rechub_cli.data.ml_100k import GENRES, INTERACTIONS_HASH, canonical_hash, read_ml_100k
from rechub_cli.data.raw import RawData
from rechub_cli.errors import DataError

TINY = {
    "u.data": "1\t10\t5\t881250949\n2\t20\t3\t881250950\n",
    "u.user": "1|24|M|technician|85711\n2|53|F|other|T8H1N\n",
    "u.item": "10|Café (1995)|01-Jan-1995||http://x?(1999)|" + "|".join("0010100" + "0" * 12) + "\n"
    "20|unknown||||" + "|".join("1" + "0" * 18) + "\n",
}


def write_tiny(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in TINY.items():
        (folder / name).write_text(text, encoding="latin-1")
    return folder


def lines(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text("utf-8").splitlines()[1:]]


def as_grouplens(source: Path, folder: Path) -> Path:
    """RecBole's files in the layout that GroupLens' README documents."""
    folder.mkdir(exist_ok=True)
    events = ["\t".join(row) for row in lines(source / "ml-100k.inter")]
    users = ["|".join(row) for row in lines(source / "ml-100k.user")]
    items = []
    for item, title, year, genres in lines(source / "ml-100k.item"):
        whole = "unknown" if item == "267" else f"{title} ({year})"
        date = "" if item == "267" else f"01-Jan-{year}"
        flags = [str(int(genre in genres.split())) for genre in GENRES]
        items.append("|".join([item, whole, date, "", "http://us.imdb.com/", *flags]))
    for name, rows in (("u.data", events), ("u.user", users), ("u.item", items)):
        (folder / name).write_text("\n".join(rows) + "\n", encoding="latin-1")
    return folder


@pytest.fixture(scope="module")
def recbole(real_data: Path) -> RawData:
    return read_ml_100k(real_data / "ml-100k")


def test_published_table(recbole: RawData) -> None:
    assert canonical_hash(recbole.interactions) == INTERACTIONS_HASH
    assert recbole.notes == ()
    assert recbole.timestamp_unit == "s"
    assert recbole.interactions.slice(0, 2).to_pylist() == [
        {"user": 196, "item": 242, "rating": 3.0, "timestamp": 881250949},
        {"user": 186, "item": 302, "rating": 3.0, "timestamp": 891717742},
    ]
    assert recbole.items is not None
    assert recbole.users is not None
    assert (recbole.items.num_rows, recbole.users.num_rows) == (1682, 943)
    assert recbole.items.schema.remove_metadata() == pa.schema(
        {"item": pa.int64(), "release_year": pa.int64(), "genres": pa.list_(pa.string())}
    )
    by_id = {row["item"]: row for row in recbole.items.to_pylist()}
    assert by_id[1]["genres"] == ["Animation", "Children's", "Comedy"]
    assert (by_id[267]["release_year"], by_id[267]["genres"]) == (None, ["unknown"])
    assert by_id[1412]["release_year"] == 1995
    assert recbole.items["release_year"].null_count == 1


def test_release_year_and_genres_are_recboles_own(recbole: RawData, real_data: Path) -> None:
    assert recbole.items is not None
    for mine, (item, _, year, genres) in zip(
        recbole.items.to_pylist(), lines(real_data / "ml-100k" / "ml-100k.item"), strict=True
    ):
        assert mine["item"] == int(item)
        assert mine["genres"] == genres.split(" ")
        if year.isdigit():
            assert mine["release_year"] == int(year)


def test_both_forms_give_one_table(recbole: RawData, real_data: Path, tmp_path: Path) -> None:
    raw = read_ml_100k(as_grouplens(real_data / "ml-100k", tmp_path))
    assert raw.interactions.equals(recbole.interactions)
    assert raw.items is not None
    assert raw.users is not None
    assert raw.items.equals(recbole.items)
    assert raw.users.equals(recbole.users)
    assert raw.notes == ()


def test_grouplens_layout(tmp_path: Path) -> None:
    raw = read_ml_100k(write_tiny(tmp_path))
    assert raw.interactions.to_pydict() == {
        "user": [1, 2],
        "item": [10, 20],
        "rating": [5.0, 3.0],
        "timestamp": [881250949, 881250950],
    }
    assert raw.items is not None
    assert raw.items.to_pydict() == {
        "item": [10, 20],
        "release_year": [1995, None],
        "genres": [["Adventure", "Children's"], ["unknown"]],
    }
    assert raw.users is not None
    assert raw.users.to_pylist()[1] == {
        "user": 2,
        "age": 53.0,
        "gender": "F",
        "occupation": "other",
        "zip_code": "T8H1N",
    }
    assert "not the published ml-100k" in raw.notes[0]


def test_filters_apply(tmp_path: Path) -> None:
    raw = read_ml_100k(write_tiny(tmp_path), rating_threshold=4)
    assert raw.interactions["item"].to_pylist() == [10]


def test_hash_sees_every_column_and_the_order() -> None:
    table = pa.table({"user": [1, 2], "item": [3, 4], "rating": [1.0, 2.0], "timestamp": [5, 6]})
    hashes = {canonical_hash(table), canonical_hash(table.take(pa.array([1, 0])))}
    for name in table.column_names:
        changed = pa.array([9, 9], table[name].type)
        hashes.add(canonical_hash(table.set_column(table.column_names.index(name), name, changed)))
    assert len(hashes) == 6


def test_neither_cache_nor_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECHUB_CACHE", str(tmp_path / "none"))
    with pytest.raises(DataError, match="`rechub data ml_100k` downloads it from GroupLens"):
        read_ml_100k(None)
    assert not (tmp_path / "none").exists()
    with pytest.raises(DataError, match=r"found neither u\.data"):
        read_ml_100k(tmp_path)
    write_tiny(tmp_path)
    (tmp_path / "u.item").unlink()
    with pytest.raises(DataError, match=r"u\.item is missing beside u\.data"):
        read_ml_100k(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("u.data", "1\t10\t5\t881250949\n1\t10\tx\t5\n", r"u\.data, line 2, column 'rating': 'x'"),
        ("u.data", "1,10,5,881250949\n", r"u\.data, line 1 has 1 field"),
        ("u.user", "1|24|M\n", r"u\.user: not the published file"),
        ("u.user", "1|old|M|x|1\n2|5|M|x|1\n", r"u\.user: not the published file"),
    ],
)
def test_damaged_files(tmp_path: Path, name: str, text: str, message: str) -> None:
    write_tiny(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        read_ml_100k(tmp_path)


def test_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("RECHUB_CACHE", raising=False)
    assert cache_dir() == tmp_path / "rechub"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "rechub"
    monkeypatch.setenv("RECHUB_CACHE", str(tmp_path / "own"))
    write_tiny(tmp_path / "own" / "ml-100k")
    assert read_ml_100k(None).interactions.num_rows == 2


def archive(folder: Path, names: tuple[str, ...] = tuple(TINY)) -> tuple[str, str]:
    """URL and MD5 of an archive in the published layout."""
    path = folder / "ml-100k.zip"
    with zipfile.ZipFile(path, "w") as zipped:
        for name in (*names, "README"):
            zipped.writestr(f"ml-100k/{name}", TINY.get(name, "terms of use").encode("latin-1"))
    return path.as_uri(), hashlib.md5(path.read_bytes()).hexdigest()


def test_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, md5 = archive(tmp_path)
    cache = tmp_path / "deep" / "cache"
    # A half-written earlier copy is replaced.
    (cache / "ml-100k").mkdir(parents=True)
    (cache / "ml-100k" / "u.data").write_text("rubbish")
    assert download_ml_100k(cache, url=url, md5=md5) == cache / "ml-100k"
    assert sorted(p.name for p in cache.iterdir()) == ["ml-100k"]
    assert (cache / "ml-100k" / "README").read_text() == "terms of use"
    monkeypatch.setenv("RECHUB_CACHE", str(cache))
    assert read_ml_100k(None).interactions.num_rows == 2


def test_the_command_says_what_it_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rechub_cli.commands import data
    from rechub_cli.data import ml_100k

    url, md5 = archive(tmp_path)
    monkeypatch.setattr(
        ml_100k, "download_ml_100k", lambda: download_ml_100k(tmp_path / "c", url=url, md5=md5)
    )
    data.run(["ml_100k"])
    printed = capsys.readouterr().out
    assert "c/ml-100k: 2 interactions" in printed
    assert "note: " in printed  # two rows are not the published table


@pytest.mark.parametrize("fault", ["md5", "no file", "no zip", "no u.item"])
def test_a_failed_download_leaves_nothing(tmp_path: Path, fault: str) -> None:
    url, md5 = archive(tmp_path, ("u.data", "u.user") if fault == "no u.item" else tuple(TINY))
    message = {
        "md5": f"the MD5 is {md5}, published is 0e33842e",
        "no file": "could not be downloaded",
        "no zip": "not the expected archive",
        "no u.item": "not the expected archive",
    }[fault]
    options = {} if fault == "md5" else {"md5": md5}
    if fault == "no zip":
        (tmp_path / "ml-100k.zip").write_bytes(b"PK nothing")
        options = {"md5": hashlib.md5(b"PK nothing").hexdigest()}
    url = url + "x" if fault == "no file" else url
    cache = tmp_path / "cache"
    with pytest.raises(DataError, match=re.escape(message)):
        download_ml_100k(cache, url=url, **options)
    assert list(cache.iterdir()) == []
