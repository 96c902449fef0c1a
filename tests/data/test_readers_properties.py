"""Any table survives the way through a file."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rechub_cli.data.readers import ColumnNames, read_memory, read_table
from rechub_cli.errors import DataError

INTEGERS = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=30)
TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=8
).filter(lambda text: text.strip() != "" and "\r" not in text)
WORDS = st.lists(TEXT, min_size=1, max_size=30)
PLAIN = ColumnNames(timestamp=None)


def ids_after(table: pa.Table, *, kind: str) -> list[Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"e.{kind}"
        if kind == "parquet":
            pq.write_table(table, path)
        else:
            pyarrow.csv.write_csv(table, path)
        return list(read_table(path, columns=PLAIN).interactions["user"].to_pylist())


def table_of(ids: list[Any]) -> pa.Table:
    return pa.table({"user_id": ids, "item_id": pa.array(range(len(ids)))})


@given(INTEGERS)
@example([2**53 + 1, 2**53, 0, -1])
@settings(deadline=None)
def test_integers_survive(ids: list[int]) -> None:
    assert ids_after(table_of(ids), kind="parquet") == ids
    assert ids_after(table_of(ids), kind="csv") == ids


@given(WORDS)
@example(["007", "7"])
@example(["1e5", "+1", "-0", "0x1", "9223372036854775808", "1.0", " 1", '"', ",", "a\nb", "NA"])
@settings(deadline=None)
def test_text_survives(ids: list[str]) -> None:
    assert ids_after(table_of(ids), kind="parquet") == ids
    expected: list[Any] = ids
    if all(word.isascii() and word.lstrip("-").isdigit() for word in ids) and all(
        str(int(word)) == word and -(2**63) <= int(word) < 2**63 for word in ids
    ):
        expected = [int(word) for word in ids]
    assert ids_after(table_of(ids), kind="csv") == expected


@given(st.lists(st.integers(0, 10**18), min_size=1, max_size=20))
@settings(deadline=None)
def test_whole_times_survive(times: list[int]) -> None:
    table = table_of(list(range(len(times)))).append_column("timestamp", pa.array(times))
    columns = ColumnNames()
    assert read_memory(table, columns=columns).interactions["timestamp"].to_pylist() == times


@given(
    st.lists(st.sampled_from(["5", "7", "x", "", "2024-01-01"]), min_size=1, max_size=40),
    st.integers(1, 50),
)
@settings(deadline=None)
def test_the_first_bad_line_is_named_whatever_the_blocks(cells: list[str], block: int) -> None:
    """The fast pass reads in blocks, the exact pass in lines; both must agree on good and bad."""
    kinds = {"5": "number", "7": "number", "2024-01-01": "iso"}
    first_kind = kinds.get(cells[0])
    bad = next(
        (n for n, cell in enumerate(cells) if kinds.get(cell) != first_kind or cell not in kinds),
        None,
    )
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("rechub_cli.data.text.BLOCK_BYTES", 64 * block)
        path = Path(folder) / "e.csv"
        path.write_text("user_id,item_id,timestamp\n" + "".join(f"u,i,{c}\n" for c in cells))
        if bad is None:
            assert read_table(path).interactions.num_rows == len(cells)
            return
        with pytest.raises(DataError) as caught:
            read_table(path)
    assert str(caught.value).startswith(f"{path}, line {bad + 2}, column 'timestamp': ")


def test_memory_and_file_agree() -> None:
    table = pa.table({"user_id": ["b", "a"], "item_id": [2, 1], "timestamp": [5, 6]})
    items = pa.table({"item_id": [1, 2, 3], "genre": [["x"], [], None]})
    raw = read_memory(table, columns=ColumnNames(), items=items)
    with tempfile.TemporaryDirectory() as folder:
        pq.write_table(table, Path(folder) / "e.parquet")
        assert raw.interactions.equals(read_table(Path(folder) / "e.parquet").interactions)
    assert raw.items is not None
    assert raw.items.to_pydict() == {"item": [1, 2, 3], "genre": [["x"], [], None]}
    assert raw.counts["items_without_events"] == 1
