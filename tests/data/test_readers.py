"""What a table becomes: hand tables, with every expected value written out."""

from __future__ import annotations

import gzip
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rechub_cli.data.filters import FilterOptions
from rechub_cli.data.raw import RawData
from rechub_cli.data.readers import ColumnNames, SideTable, read_table
from rechub_cli.data.times import guess_unit
from rechub_cli.errors import ConfigError, DataError

SHOP = ColumnNames(user="visitor", item="sku", timestamp="ts")
BIG = 2**53 + 1


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def parquet(folder: Path, name: str = "events.parquet", **columns: Any) -> Path:
    path = folder / name
    pq.write_table(pa.table(columns), path)
    return path


def rows(raw: RawData) -> list[tuple[Any, ...]]:
    return list(zip(*(c.to_pylist() for c in raw.interactions.columns), strict=True))


CSV = "visitor,sku,ts\nann,7,100000000\nbob,8,100000001\nann,9,100000002\n"
EXPECTED = [("ann", 7, 100000000), ("bob", 8, 100000001), ("ann", 9, 100000002)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("e.csv", CSV),
        ("e.tsv", CSV.replace(",", "\t")),
        ("e.csv.gz", gzip.compress(CSV.encode(), mtime=0)),
        ("bom.csv", b"\xef\xbb\xbf" + CSV.encode()),
        ("crlf.csv", CSV.replace("\n", "\r\n")),
        ("blank.csv", CSV.replace("bob", "\n\nbob")),
        ("quoted.csv", CSV.replace("ann", '"ann"').replace("visitor", '"visitor"')),
        ("no_end.csv", CSV.rstrip("\n")),
        ("more.csv", "note,visitor,sku,ts\nx,ann,7,100000000\n,bob,8,100000001\ny,ann,9,100000002"),
    ],
)
def test_text_forms_give_one_table(tmp_path: Path, name: str, content: str | bytes) -> None:
    raw = read_table(write(tmp_path, name, content), columns=SHOP)
    assert rows(raw) == EXPECTED
    assert raw.interactions.schema == pa.schema(
        {"user": pa.string(), "item": pa.int64(), "timestamp": pa.int64()}
    )
    assert raw.timestamp_unit == "s"
    assert raw.counts == {
        "rows_read": 3,
        "rows_below_rating": 0,
        "rows_duplicate": 0,
        "rows_core": 0,
        "rows": 3,
    }


def test_quoted_cells_may_hold_separator_quote_and_line_end(tmp_path: Path) -> None:
    path = write(tmp_path, "e.csv", 'visitor,sku,ts\n"a,b",x,1\n"say ""hi""","two\nlines",2\n')
    assert rows(read_table(path, columns=SHOP)) == [("a,b", "x", 1), ('say "hi"', "two\nlines", 2)]


def test_own_separator_and_headerless(tmp_path: Path) -> None:
    path = write(tmp_path, "e.dat", "1::10\n".replace("::", "|") + "2|20\n")
    raw = read_table(
        path,
        format="csv",
        separator="|",
        header=False,
        column_names=["user_id", "item_id"],
    )
    assert rows(raw) == [(1, 10), (2, 20)]
    assert raw.timestamp_unit is None
    assert raw.notes == ("no timestamps: the order of the rows is the order of events",)


def test_files_of_a_folder_and_a_glob_are_read_by_name(tmp_path: Path) -> None:
    for name, user in (("b.csv", "2"), ("a.csv", "1"), ("c.csv", "3")):
        write(tmp_path, name, f"item_id,user_id\n{user}0,{user}\n")
    write(tmp_path, ".hidden.csv", "rubbish")
    write(tmp_path, "_SUCCESS", "")
    raw = read_table(tmp_path)
    assert rows(raw) == [(1, 10), (2, 20), (3, 30)]
    assert "(files by name: a.csv ... c.csv)" in raw.notes[0]
    assert rows(read_table(str(tmp_path / "[bc].csv"))) == [(2, 20), (3, 30)]


@pytest.mark.parametrize(
    ("separator", "text"),
    [
        (None, "\n u1  a b\n\nu2\tc\r\nu1 d"),
        (",", "u1,a, b\nu2,c\r\nu1,d\n"),
    ],
)
def test_sequences(tmp_path: Path, separator: str | None, text: str) -> None:
    path = write(tmp_path, "seq.txt", text)
    raw = read_table(path, format="sequences", separator=separator)
    assert rows(raw) == [("u1", "a"), ("u1", "b"), ("u2", "c"), ("u1", "d")]


def test_sequences_are_read_over_block_borders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rechub_cli.data.sequences.BLOCK_BYTES", 7)
    path = write(tmp_path, "seq.txt", b"\xef\xbb\xbf1 10 11 12 13 14 15\n2 20\n3 30 31")
    expected = [(1, i) for i in range(10, 16)] + [(2, 20), (3, 30), (3, 31)]
    assert rows(read_table(path, format="sequences")) == expected


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", "-2", "0"], [1, -2, 0]),
        ([str(BIG), str(2**63 - 1), str(-(2**63))], [BIG, 2**63 - 1, -(2**63)]),
        (["1", "007"], ["1", "007"]),
        (["1", "+2"], ["1", "+2"]),
        (["1", "-0"], ["1", "-0"]),
        (["1", "2.0"], ["1", "2.0"]),
        (["1", " 2"], ["1", " 2"]),
        (["1", str(2**63)], ["1", str(2**63)]),
        (["1", "0x10"], ["1", "0x10"]),
        (["NA", "null"], ["NA", "null"]),
    ],
)
def test_text_ids_become_integers_only_when_all_are_canonical(
    tmp_path: Path, cells: list[str], expected: list[Any]
) -> None:
    path = write(tmp_path, "e.csv", "user_id,item_id\n" + "".join(f"{c},x\n" for c in cells))
    assert read_table(path).interactions["user"].to_pylist() == expected


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (pa.array([BIG, -1]), [BIG, -1]),
        (pa.array([1, 2], pa.uint8()), [1, 2]),
        (pa.array([1, 2**63 - 1], pa.uint64()), [1, 2**63 - 1]),
        (pa.array([1, 2**64 - 1], pa.uint64()), ["1", str(2**64 - 1)]),
        (pa.array([Decimal("7.00"), Decimal(BIG)]), [7, BIG]),
        (pa.array([1.0, 2.0]), [1, 2]),
        (pa.array(["7", "8"]), ["7", "8"]),
        (pa.array(["a", "b"], pa.large_string()), ["a", "b"]),
        (pa.array([b"a", b"b"]), ["a", "b"]),
        (pa.array(["b", "a"]).dictionary_encode(), ["b", "a"]),
        (pa.array([5, 4]).dictionary_encode(), [5, 4]),
    ],
)
def test_parquet_ids(tmp_path: Path, ids: pa.Array, expected: list[Any]) -> None:
    raw = read_table(parquet(tmp_path, user_id=ids, item_id=["x", "y"]))
    assert raw.interactions["user"].to_pylist() == expected
    assert raw.interactions["user"].type in (pa.int64(), pa.string())


def times(tmp_path: Path, cells: Any) -> tuple[list[int], str | None, tuple[str, ...]]:
    """Both ways into the same times: as CSV text where cells are text, else as Parquet."""
    if isinstance(cells, list):
        lines = "".join(f"u,i,{cell}\n" for cell in cells)
        path = write(tmp_path, "e.csv", "user_id,item_id,timestamp\n" + lines)
    else:
        ids = ["u"] * len(cells)
        path = parquet(tmp_path, user_id=ids, item_id=ids, timestamp=cells)
    raw = read_table(path)
    return raw.interactions["timestamp"].to_pylist(), raw.timestamp_unit, raw.notes


NOON = datetime(2024, 5, 31, 12, tzinfo=UTC)
SECOND = 1717156800


@pytest.mark.parametrize(
    ("cells", "expected", "unit"),
    [
        (["1717156800", "1717156801"], [SECOND, SECOND + 1], "s"),
        (["1717156800000"], [SECOND * 1000], "ms"),
        (["1717156800000000"], [SECOND * 10**6], "us"),
        (["1717156800000000001"], [SECOND * 10**9 + 1], "ns"),
        (["0", "1", "2"], [0, 1, 2], None),
        (["1717156800.0", "1717156801"], [SECOND, SECOND + 1], "s"),
        (["1717156800.5", "1717156801"], [SECOND * 10**6 + 500_000, (SECOND + 1) * 10**6], "us"),
        (["1717156800000.25"], [SECOND * 10**6 + 250], "us"),
        (["0.5", "2"], [500_000, 2_000_000], None),
        (["2024-05-31"], [(SECOND - 43200) * 10**6], "us"),
        (
            ["2024-05-31 12:00:00", "2024-05-31T12:00:01.5"],
            [SECOND * 10**6, 1717156801500000],
            "us",
        ),
        (["2024-05-31T12:00:00Z", "2024-05-31T14:00:00+02:00"], [SECOND * 10**6] * 2, "us"),
        (["2024-05-31T12:00:00.000000001"], [SECOND * 10**9 + 1], "ns"),
        (pa.array([SECOND], pa.int32()), [SECOND], "s"),
        (pa.array([float(SECOND)]), [SECOND], "s"),
        (pa.array([NOON], pa.timestamp("ms", "UTC")), [SECOND * 1000], "ms"),
        (pa.array([NOON.replace(tzinfo=None)], pa.timestamp("ns")), [SECOND * 10**9], "ns"),
        (pa.array([date(2024, 5, 31)]), [SECOND - 43200], "s"),
        (pa.array(["2024-05-31T12:00:00"]), [SECOND * 10**6], "us"),
    ],
)
def test_times(tmp_path: Path, cells: Any, expected: list[int], unit: str | None) -> None:
    assert times(tmp_path, cells)[:2] == (expected, unit)


@pytest.mark.parametrize(
    ("largest", "unit"),
    [
        (10**8 - 1, None),
        (10**8, "s"),
        (10**11 - 1, "s"),
        (10**11, "ms"),
        (10**14 - 1, "ms"),
        (10**14, "us"),
        (10**17 - 1, "us"),
        (10**17, "ns"),
    ],
)
def test_unit_borders(largest: int, unit: str | None) -> None:
    assert guess_unit(largest) == unit


def test_time_notes(tmp_path: Path) -> None:
    assert "multiplied by 1,000,000 and count us" in times(tmp_path, ["1717156800.5"])[2][0]
    assert "some count s, some ms" in times(tmp_path, ["1717156800", "1717156800000"])[2][0]


def test_files_with_whole_and_fractional_times_are_scaled_together(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "user_id,item_id,timestamp\nu,i,1717156800\n")
    write(tmp_path, "b.csv", "user_id,item_id,timestamp\nu,i,1717156800.5\n")
    raw = read_table(tmp_path)
    assert raw.interactions["timestamp"].to_pylist() == [SECOND * 10**6, SECOND * 10**6 + 500_000]


def test_timestamp_auto_and_null(tmp_path: Path) -> None:
    path = write(tmp_path, "e.csv", "user_id,item_id,timestamp\nu,i,5\n")
    assert "timestamp" in read_table(path).interactions.column_names
    raw = read_table(path, columns=ColumnNames(timestamp=None))
    assert raw.interactions.column_names == ["user", "item"]
    assert "order of the rows" in raw.notes[0]


def test_rating_weight_split_and_context(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "e.csv",
        "user_id,item_id,stars,w,part,device,price,zip,n,gap\n"
        "1,10,4,0.5,train,web,1.5,05201,7,NaN\n"
        "1,11,3.5,0,valid,app,2,10001,,2\n"
        "1,12,5,2,test,,nan,10001,9,3\n",
    )
    columns = ColumnNames(
        rating="stars",
        weight="w",
        split="part",
        context=("device", "price", "zip", "n", "gap"),
    )
    raw = read_table(path, columns=columns, rating_threshold=4)
    assert raw.interactions.to_pydict() == {
        "user": [1, 1],
        "item": [10, 12],
        "rating": [4.0, 5.0],
        "weight": [0.5, 2.0],
        "split": ["train", "test"],
        "device": ["web", None],
        "price": [1.5, None],
        "zip": ["05201", "10001"],
        "n": [7, 9],
        "gap": [None, 3],
    }
    assert raw.counts["rows_below_rating"] == 1
    assert "1 of 3 rows removed: below the rating threshold" in raw.notes[-1]


def test_parquet_context_keeps_its_types(tmp_path: Path) -> None:
    path = parquet(
        tmp_path,
        user_id=[1, 2],
        item_id=[3, 4],
        tags=pa.array([["a"], []], pa.large_list(pa.large_string())),
        ok=[True, None],
        f=pa.array([1.5, None], pa.float32()),
        n=pa.array([1, None], pa.int16()),
    )
    table = read_table(path, columns=ColumnNames(context=("tags", "ok", "f", "n"))).interactions
    assert table.select(["tags", "ok", "f", "n"]).to_pydict() == {
        "tags": [["a"], []],
        "ok": ["true", None],
        "f": [1.5, None],
        "n": [1, None],
    }
    assert table["tags"].type == pa.list_(pa.string())


def test_side_tables(tmp_path: Path) -> None:
    events = write(tmp_path, "e.csv", "user_id,item_id\nu1,1\nu2,2\nu3,9\n")
    items = write(
        tmp_path, "i.csv", "item_id,price,city,zip\n1,2.5,Rome,00100\n3,,Oslo,10\n2,1,,7\n"
    )
    users = parquet(tmp_path, "u.parquet", id=["u1", "u9"], likes=[["a", "b"], None])
    raw = read_table(events, items=SideTable(items), users=SideTable(users, "id"))
    assert raw.items is not None
    assert raw.users is not None
    assert raw.items.to_pydict() == {
        "item": [1, 3, 2],
        "price": [2.5, None, 1.0],
        "city": ["Rome", "Oslo", None],
        "zip": ["00100", "10", "7"],
    }
    assert raw.users.to_pydict() == {"user": ["u1", "u9"], "likes": [["a", "b"], None]}
    assert raw.counts["items_not_in_table"] == 1
    assert raw.counts["items_without_events"] == 1
    assert raw.counts["users_not_in_table"] == 2
    assert any(note.startswith("2 of 3 users are not in the user table") for note in raw.notes)


def test_missing_users_are_counted_after_the_filters(tmp_path: Path) -> None:
    events = write(tmp_path, "e.csv", "user_id,item_id\nu1,1\nu1,2\nu2,1\n")
    users = write(tmp_path, "u.csv", "user_id,age\nu1,5\n")
    raw = read_table(events, users=SideTable(users), filters=FilterOptions(min_user_events=2))
    assert raw.counts["users_not_in_table"] == 0


def test_ids_of_two_types_meet_as_text(tmp_path: Path) -> None:
    events = parquet(tmp_path, user_id=["u", "u"], item_id=pa.array([7, 8]))
    items = write(tmp_path, "i.csv", "item_id,price\n7,1\n007,2\n")
    raw = read_table(events, items=SideTable(items))
    assert raw.items is not None
    assert raw.interactions["item"].to_pylist() == ["7", "8"]
    assert raw.items["item"].to_pylist() == ["7", "007"]
    assert raw.counts["items_not_in_table"] == 1
    assert any("all are text" in note for note in raw.notes)


def test_a_side_table_of_no_shared_id_is_refused(tmp_path: Path) -> None:
    events = write(tmp_path, "e.csv", "user_id,item_id\nu,1\n")
    items = write(tmp_path, "i.csv", "item_id,price\nsku-1,3\n")
    with pytest.raises(
        DataError, match=r"none of the 1 items .*the interactions have '1', the table 'sku-1'"
    ):
        read_table(events, items=SideTable(items))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (ColumnNames(user="item_id"), "'item_id' twice"),
        (ColumnNames(context=("rating",)), "a name kept for another part"),
    ],
)
def test_parts_that_clash(tmp_path: Path, columns: ColumnNames, message: str) -> None:
    path = write(tmp_path, "e.csv", "user_id,item_id,rating\n1,1,1\n")
    with pytest.raises(ConfigError, match=message):
        read_table(path, columns=columns)


def test_threshold_needs_a_rating(tmp_path: Path) -> None:
    path = write(tmp_path, "e.csv", "user_id,item_id\n1,1\n")
    with pytest.raises(ConfigError, match="data.columns.rating"):
        read_table(path, rating_threshold=3)


def test_duplicates_last_by_time_not_by_row(tmp_path: Path) -> None:
    path = write(tmp_path, "e.csv", "user_id,item_id,timestamp\n1,5,30\n1,5,10\n1,6,20\n")
    raw = read_table(path, filters=FilterOptions(duplicates="last"))
    assert rows(raw) == [(1, 5, 30), (1, 6, 20)]
