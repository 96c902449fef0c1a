"""Bad data end in file, line or row, column and cell: the first bad one, exactly."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rechub_cli.data.filters import FilterOptions
from rechub_cli.data.load import load_interactions
from rechub_cli.data.readers import ColumnNames, SideTable, read_table
from rechub_cli.errors import ConfigError, DataError

TIMED = ColumnNames(timestamp="ts")
RATED = ColumnNames(rating="r", weight="w", split="p")
SPLIT = ColumnNames(split="p")
HEAD = "user_id,item_id,ts\n"


def failure(path: Path | str, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        read_table(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def of_text(folder: Path, content: str | bytes, name: str = "e.csv", **options: Any) -> str:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return failure(path, **options).removeprefix(f"{path}")


@pytest.mark.parametrize(
    ("content", "columns", "start"),
    [
        (HEAD + "a,b,1\n,b,2\n", TIMED, ", line 3, column 'user_id': the id is empty"),
        (HEAD + "a,b,1\na, ,2\n", TIMED, ", line 3, column 'item_id': the id is empty"),
        (HEAD + "a,b,1\na,b,\n", TIMED, ", line 3, column 'ts': the timestamp is missing"),
        (HEAD + "a,b,1\na,b,soon\n", TIMED, ", line 3, column 'ts': 'soon' is neither a number"),
        (HEAD + "a,b,soon\n", TIMED, ", line 2, column 'ts': 'soon' is neither a number"),
        (HEAD + "a,b,nan\n", TIMED, ", line 2, column 'ts': 'nan' is no time"),
        (
            HEAD + "a,b,2024-01-01\na,b,5\n",
            TIMED,
            ", line 3, column 'ts': '5' is a number, but the first timestamp is ISO text without",
        ),
        (
            HEAD + "a,b,2024-01-01\na,b,2024-01-01T00:00:00Z\n",
            TIMED,
            ", line 3, column 'ts': '2024-01-01T00:00:00Z' is ISO text with a zone, but",
        ),
        (HEAD + "a,b,2024-02-30\n", TIMED, ", line 2, column 'ts': '2024-02-30' is neither"),
        (HEAD + "a,b,1\na,b\n", TIMED, ", line 3: 2 fields where 3 are expected"),
        (HEAD + "a,b,1\na,b,c,d\n", TIMED, ", line 3: 4 fields where 3 are expected"),
        # The first bad line wins, whatever is wrong further down.
        (HEAD + "a,b,1\na,b,x\na,b\n", TIMED, ", line 3, column 'ts': 'x'"),
        (HEAD + "a,b,1\na,b\na,b,x\n", TIMED, ", line 3: 2 fields"),
        (HEAD + 'a,"b\nc",1\n\na,b,x\n', TIMED, ", line 5, column 'ts': 'x'"),
        (HEAD + 'a,b,1\n"a,b,2\na,b,3\n', TIMED, ", line 4: "),
        ("user_id,item_id,r,w,p\n1,1,x,1,train\n", RATED, ", line 2, column 'r': 'x' is no number"),
        ("user_id,item_id,r,w,p\n1,1,,1,train\n", RATED, ", line 2, column 'r': the rating is mis"),
        ("user_id,item_id,r,w,p\n1,1,inf,1,train\n", RATED, ", line 2, column 'r': 'inf' is not a"),
        ("user_id,item_id,r,w,p\n1,1,1,-1,train\n", RATED, ", line 2, column 'w': the weight '-1'"),
        (
            "user_id,item_id,r,w,p\n1,1,1,1e30,train\n1,2,1,1e300,train\n",
            RATED,
            ", line 3, column 'w': the weight '1e300' is above 1e+30; only ratios count, so divide",
        ),
        (
            "user_id,item_id,p\n1,1,train\n1,1,tests\n",
            SPLIT,
            ", line 3, column 'p': 'tests' is no part; allowed: train, valid, test. Did you mean",
        ),
    ],
)
def test_text_cells(tmp_path: Path, content: str, columns: ColumnNames, start: str) -> None:
    message = of_text(tmp_path, content, columns=columns)
    assert message.startswith(start), message


def test_a_bad_cell_is_found_in_a_later_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rechub_cli.data.text.BLOCK_BYTES", 4096)
    lines = [f"u{n},i{n},{n}\n" for n in range(50_000)]
    lines[30_000] = "u,i,oops\n"
    lines[30_001] = "u,,1\n"
    message = of_text(tmp_path, HEAD + "".join(lines), columns=TIMED)
    assert message.startswith(", line 30002, column 'ts': 'oops'")


def test_encoding(tmp_path: Path) -> None:
    message = of_text(tmp_path, (HEAD + "a,b,1\nZoé,b,2\n").encode("latin-1"), columns=TIMED)
    assert message.startswith(", line 3: column 'user_id': byte 0xe9 is not UTF-8 (as Latin-1")
    assert "'Zoé'" in message
    message = of_text(tmp_path, (HEAD + "a,b,1\n").encode("utf-16"), columns=TIMED)
    assert "iconv -f UTF-16" in message


def test_bytes_in_a_column_that_is_not_read_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_bytes(b"user_id,item_id,title\n1,2,Zo\xe9\n")
    assert read_table(path).interactions.num_rows == 1


@pytest.mark.parametrize(
    ("content", "options", "fragments"),
    [
        ("user,item_id\n1,2\n", {}, [": no column 'user_id'; there are 'user', 'item_id'. Did"]),
        (
            "user_id,sku\n1,2\n",
            {},
            [": no column 'item_id'", "'sku'", "data.columns.item says what it is called"],
        ),
        ("user_id;item_id\n1;2\n", {}, ["looks separated by ';'", "set 'data.separator=\";\"'"]),
        ("user_id\titem_id\n1\t2\n", {}, ["separated by tabs", "data.format=tsv"]),
        ("1,2\n3,4\n", {}, ["line 1 looks like data ('1', '2')", "data.header=false"]),
        ("user_id,user_id,item_id\n1,2,3\n", {}, ["2 columns are named 'user_id'"]),
        (
            "1;2\n",
            {"header": False, "column_names": ["user_id", "item_id"]},
            ["line 1 has 1 field", "set 'data.separator=\";\"'"],
        ),
        (
            "1,2,3\n",
            {"header": False, "column_names": ["user_id", "item_id"]},
            ["line 1: 3 fields, but data.column_names has 2 (user_id, item_id)"],
        ),
        (
            "user_id,item_id\n1,2\n",
            {"header": False, "column_names": ["user_id", "item_id"]},
            ["line 1 names the columns", "data.header=true"],
        ),
        ("user_id,item_id\n", {}, [": no data rows"]),
        ("", {}, ["empty (0 bytes)"]),
    ],
)
def test_headers(
    tmp_path: Path, content: str, options: dict[str, Any], fragments: list[str]
) -> None:
    message = of_text(tmp_path, content, **options)
    for fragment in fragments:
        assert fragment in message


def test_second_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HEAD + "a,b,1\n")
    (tmp_path / "b.csv").write_text(HEAD + "a,b,1\na,b,2024-01-01\n")
    message = failure(tmp_path, columns=TIMED)
    assert message.startswith(f"{tmp_path / 'b.csv'}, line 3, column 'ts': '2024-01-01' is ISO")
    (tmp_path / "b.csv").write_text("user_id,item_id\na,b\n")
    assert failure(tmp_path, columns=TIMED).startswith(f"{tmp_path / 'b.csv'}: no column 'ts'")


def test_paths(tmp_path: Path) -> None:
    assert "no such file or folder" in failure(tmp_path / "none.csv")
    assert "holds no files" in failure(tmp_path)
    (tmp_path / "a.csv").write_text("x")
    (tmp_path / "b.tsv").write_text("x")
    assert "several formats: a.csv (csv), b.tsv (tsv)" in failure(tmp_path)
    (tmp_path / "notes.md").write_text("x")
    assert "notes.md does not tell its format" in failure(tmp_path)


def test_truncated_gzip(tmp_path: Path) -> None:
    whole = gzip.compress((HEAD + "".join(f"a,b,{n * n}\n" for n in range(5000))).encode())
    message = of_text(tmp_path, whole[: len(whole) // 2], "e.csv.gz", columns=TIMED)
    assert re.match(r", after line \d+: the file is truncated or corrupt", message)


@pytest.mark.parametrize(
    ("content", "start"),
    [
        (b"u1 a b\n\nu2\n", ", line 3: 'u2' is a user without items"),
        (b"u1 a\nu2 \xe9 b\nu3\n", ", line 2: bytes that are not UTF-8: b'u2 \\xe9 b'"),
        (b"u1 a\nu3\nu2 \xe9 b\n", ", line 2: 'u3' is a user without items"),
        (b"\n  \n\n", ": no data rows"),
    ],
)
def test_sequences(tmp_path: Path, content: bytes, start: str) -> None:
    assert of_text(tmp_path, content, "e.txt", format="sequences").startswith(start)


def test_sequences_with_a_separator(tmp_path: Path) -> None:
    for line in ("v,a,,b", "v,,a", ",a"):
        text = f"u,a\n{line}\n"
        message = of_text(tmp_path, text, "e.txt", format="sequences", separator=",")
        assert message.startswith(", line 2, the "), line
        assert "the id is empty" in message


def of_parquet(folder: Path, columns: ColumnNames, **arrays: Any) -> str:
    path = folder / "e.parquet"
    pq.write_table(pa.table(arrays), path, row_group_size=2)
    return failure(path, columns=columns).removeprefix(f"{path}")


@pytest.mark.parametrize(
    ("arrays", "start"),
    [
        ({"user_id": ["a", None, "c"]}, ", row 2, column 'user_id': the id is empty"),
        ({"user_id": ["a", "b", ""]}, ", row 3, column 'user_id': the id is empty"),
        ({"user_id": [1.0, 2.5, 3.0]}, ", row 2, column 'user_id': the id 2.5 is a floating"),
        ({"user_id": [1.0, 2.0, 2.0**53]}, ", row 3, column 'user_id': the id 9007199254740992.0"),
        ({"user_id": [b"a", b"\xff", b"c"]}, ", row 2, column 'user_id': b'\\xff' is not UTF-8"),
        ({"user_id": [True, False, True]}, ": column 'user_id' has the type bool; a id may hold"),
        ({"ts": [1, 2, None]}, ", row 3, column 'ts': the timestamp is missing"),
        ({"ts": [1.0, float("nan"), 2.0]}, ", row 2, column 'ts': the timestamp is missing"),
        ({"ts": [1.0, float("inf"), 2.0]}, ", row 2, column 'ts': inf is no time"),
        (
            {"ts": pa.array([1, 2, 2**64 - 1], pa.uint64())},
            ", row 3, column 'ts': 1844674407370955",
        ),
        ({"ts": ["1", "2", "x"]}, ", row 3, column 'ts': 'x' is neither"),
        ({"ts": [[1], [2], [3]]}, ": column 'ts' has the type list<element: int64>; a time may"),
        ({"ts": ["1", "x", "2"], "item_id": ["", "b", "c"]}, ", row 1, column 'item_id': the id"),
    ],
)
def test_parquet_cells(tmp_path: Path, arrays: dict[str, Any], start: str) -> None:
    data = {"user_id": [1, 2, 3], "item_id": [1, 2, 3], "ts": [1, 2, 3], **arrays}
    message = of_parquet(tmp_path, TIMED, **data)
    assert message.startswith(start), message


def test_broken_parquet(tmp_path: Path) -> None:
    path = tmp_path / "e.parquet"
    pq.write_table(pa.table({"user_id": range(1000), "item_id": range(1000)}), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert failure(path).startswith(f"{path}: not a readable Parquet file, perhaps truncated")
    path.write_bytes(whole[:200] + bytes(600) + whole[800:])
    assert failure(path).startswith(f"{path}: not a readable Parquet file")
    path.write_text("user_id,item_id\n1,2\n")
    assert failure(path).startswith(f"{path}: not a readable Parquet file")


def test_types_that_differ_between_files(tmp_path: Path) -> None:
    pq.write_table(pa.table({"user_id": [1], "item_id": [1]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"user_id": ["x"], "item_id": [1]}), tmp_path / "b.parquet")
    message = failure(tmp_path)
    assert message.startswith(
        f"{tmp_path / 'b.parquet'}: column 'user_id' holds text (string), but a.parquet has "
        "integers (int64)"
    )


def test_gzip_under_another_name(tmp_path: Path) -> None:
    message = of_text(tmp_path, gzip.compress(HEAD.encode()))
    assert message.startswith(" is compressed by gzip: call it e.csv.gz")


def test_missing_parquet_column(tmp_path: Path) -> None:
    message = of_parquet(tmp_path, ColumnNames(), user_id=[1], item_ids=[2])
    assert message.startswith(": no column 'item_id'; there are 'user_id', 'item_ids'. Did you")


def test_nothing_left(tmp_path: Path) -> None:
    message = of_text(
        tmp_path,
        "user_id,item_id,r\n1,1,5\n1,1,5\n1,2,1\n2,1,4\n",
        columns=ColumnNames(rating="r"),
        rating_threshold=4,
        filters=FilterOptions(min_user_events=3, duplicates="first"),
    )
    assert "nothing is left of 4 rows: 1 below data.rating_threshold=4, 1 repeats" in message
    assert "2 outside the core (data.filters.min_user_events=3" in message


def test_repeated_keys_of_a_side_table(tmp_path: Path) -> None:
    events = tmp_path / "e.csv"
    events.write_text("user_id,item_id\n1,1\n")
    folder = tmp_path / "items"
    folder.mkdir()
    (folder / "a.csv").write_text('item_id,t\n1,"two\nlines"\n2,x\n')
    (folder / "b.csv").write_text("item_id,t\n3,x\n2,x\n1,x\n")
    message = failure(events, items=SideTable(folder))
    assert message.startswith(
        f"{folder / 'b.csv'}, line 3, column 'item_id': the key 2 is already in "
        f"{folder / 'a.csv'}, line 4 (repeats in all: 2)"
    )


@pytest.mark.parametrize(
    ("content", "key", "fragment"),
    [
        ("item_id,t\n,x\n", None, "line 2, column 'item_id': the id is empty"),
        ("id,t\n1,x\n", None, "no column 'item_id'; there are 'id', 't'. data.items.key says"),
        ("id,item\n1,x\n", "id", "the feature 'item' has the name that the key 'id' gets"),
        ("item_id,t,t\n1,x,y\n", None, "2 columns are named 't'"),
        ("item_id,t\n1\n", None, "line 2: 1 field where 2 are expected"),
        ("item_id,t\n", None, "no data rows"),
    ],
)
def test_side_table_errors(tmp_path: Path, content: str, key: str | None, fragment: str) -> None:
    (tmp_path / "e.csv").write_text("user_id,item_id\n1,1\n")
    (tmp_path / "i.csv").write_text(content)
    message = failure(tmp_path / "e.csv", items=SideTable(tmp_path / "i.csv", key))
    assert fragment in message


@pytest.mark.parametrize(
    ("columns", "tables", "start"),
    [
        (
            {"user_id": [1, 2, None, "x", "y"], "item_id": [1] * 5},
            {},
            "the interactions, row 4, column 'user_id': 'x' is of type str, and the column has ",
        ),
        (
            {"user_id": ["x", 1], "item_id": [1, 2]},
            {},
            "the interactions, row 2, column 'user_id': 1 is of type int, and the column has int,",
        ),
        (
            {"user_id": [1], "item_id": [1]},
            {"items": pd.DataFrame({"item_id": [1, 2], "tag": [["a"], "b"]})},
            "the item table, row 2, column 'tag': 'b' is of type str, and the column has list, str",
        ),
        (
            {"user_id": [1], "item_id": [1]},
            {"items": "items.parquet"},
            "the item table is the path 'items.parquet', but the interactions are in memory;",
        ),
        (
            {"user_id": [1], "item_id": [1]},
            {"users": [1, 2]},
            "the user table: found a list; allowed: a pandas DataFrame, an Arrow table or a path",
        ),
        (
            {"user_id": [1], "item_id": [1]},
            {"users": pd.DataFrame([[1, 2]], columns=["user_id", "user_id"])},
            "the user table: several columns are named 'user_id'",
        ),
    ],
)
def test_tables_in_memory(columns: dict[str, Any], tables: dict[str, Any], start: str) -> None:
    with pytest.raises(DataError) as caught:
        load_interactions(pd.DataFrame(columns), **tables)
    assert str(caught.value).startswith(start)


@pytest.mark.parametrize("key", ["split", "features", "filters"])
def test_options_of_another_kind(key: str) -> None:
    given: dict[str, Any] = {key: {"method": "time"}}
    message = f"{key} is a dict; needed: {key.rstrip('s').capitalize()}Options"
    with pytest.raises(ConfigError, match=message):
        load_interactions(pd.DataFrame({"user_id": [1], "item_id": [1]}), **given)
