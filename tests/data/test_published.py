"""Public sets without times: each form gives one table, and another preprocessing is named."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rechub_cli.commands import data as data_command
from rechub_cli.data.amazon_beauty import PUBLISHED as BEAUTY
from rechub_cli.data.amazon_beauty import read_amazon_beauty
from rechub_cli.data.assemble import Events
from rechub_cli.data.filters import FilterOptions
from rechub_cli.data.ids import Ids
from rechub_cli.data.ml_1m import PUBLISHED as ML_1M
from rechub_cli.data.ml_1m import read_ml_1m
from rechub_cli.data.ordered import read_ordered
from rechub_cli.data.published import PublishedSet, Variant, canonical_hash, identify
from rechub_cli.errors import DataError

ORDERED = {10: [7, 30, 7], 9: [8]}
"""Users 10 and 9 with their items, oldest first."""
CANONICAL = "9 8\n10 7\n10 30\n10 7\n"


def events_of(sequences: dict[Any, list[Any]]) -> Events:
    users = [user for user, items in sequences.items() for _ in items]
    ids = [pa.array(c).dictionary_encode() for c in (users, sum(sequences.values(), []))]
    return Events(*(Ids(c.dictionary, c.indices.to_numpy()) for c in ids), {})


def set_of(sequences: dict[Any, list[Any]], *variants: Variant) -> PublishedSet:
    events = events_of(sequences)
    sizes = len(events.user.values), len(events.item.values), len(events.user.codes)
    hashes = canonical_hash(events), canonical_hash(events, any_order=True)
    return PublishedSet("the file", *sizes, *hashes, variants)


def write_parquet(path: Path, columns: dict[str, list[Any]]) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_the_hash_is_that_of_sorted_user_item_lines() -> None:
    assert canonical_hash(events_of(ORDERED)) == sha256(CANONICAL)
    assert canonical_hash(events_of(ORDERED), any_order=True) == sha256("9 8\n10 7\n10 7\n10 30\n")
    texts = {"b": ["y", "x"], "a": ["ü"]}
    assert canonical_hash(events_of(texts)) == sha256("a ü\nb y\nb x\n")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({9: [8], 10: [7, 7, 30]}, "the same events, ordered otherwise within users"),
        ({9: [8], 10: [7, 31, 7]}, "the same counts, but other ids or other events"),
        ({9: [8], 10: [7, 7, 7]}, "an unknown preprocessing"),
        ({9: [8], 10: [7, 30]}, "an unknown preprocessing"),
        ({9: [8], 10: [7, 1, 2]}, "the counts are those of the other file"),
    ],
)
def test_what_differs_is_named(changed: dict[int, list[int]], why: str) -> None:
    published = set_of(ORDERED, Variant("the other file", 2, 4))
    same, none = identify(events_of({9: [8], 10: [7, 30, 7]}), published)
    assert (same.published, same.name, same.sha256) == (True, "the file", published.sha256)
    assert none == []
    other, (note,) = identify(events_of(changed), published)
    assert not other.published
    assert (other.name, other.sha256) == (why, canonical_hash(events_of(changed)))
    assert note.startswith("not the file: expected 2 users x 3 items and 4 events, found 2 users")
    assert why in note


@pytest.mark.parametrize(
    "text",
    [
        "10 7\n10 30\n10 7\n9 8\n",
        "10 7\r\n10 30\r\n9 8\r\n10 7",
        "10 7 30 7\n9 8\n",
        "9\t8\n\n10 7 30\n10 7\n",
    ],
    ids=["user item", "interleaved, CRLF", "a sequence a line", "tabs, blank line"],
)
def test_text_forms_give_the_same_events(text: str, tmp_path: Path) -> None:
    file = tmp_path / "any.txt"
    file.write_bytes(text.encode())
    assert canonical_hash(read_ordered(file)) == sha256(CANONICAL)


def test_parquet_is_put_in_order_by_position(tmp_path: Path) -> None:
    columns = {"user_id": [10, 9, 10, 10], "item_id": [5, 8, 30, 7], "position": [2, 0, 1, 0]}
    file = write_parquet(tmp_path / "x.parquet", columns)
    assert canonical_hash(read_ordered(file)) == sha256("9 8\n10 7\n10 30\n10 5\n")
    del columns["position"]  # then the rows stand in order
    file = write_parquet(tmp_path / "y.parquet", columns)
    assert canonical_hash(read_ordered(file)) == sha256("9 8\n10 5\n10 30\n10 7\n")


def test_ml_1m(real_data: Path, tmp_path: Path) -> None:
    raw = read_ml_1m(real_data / "ml-1m")
    assert raw.identity is not None
    assert (raw.identity.name, raw.identity.published) == (ML_1M.title, True)
    assert raw.notes == ()
    assert raw.interactions.num_rows == 999_611
    assert raw.interactions.slice(0, 2).to_pylist() == [
        {"user": 1, "item": 1},
        {"user": 1, "item": 2},
    ]
    assert raw.items is not None
    assert raw.items.column_names == ["item", "year", "genres"]
    assert raw.users is not None
    assert raw.users.column_names == ["user", "gender", "age", "occupation", "zip_code"]
    # The authors' own form, byte for byte: its hash is the canonical one, for `sha256sum` to see.
    users, items = (raw.interactions[name].to_pylist() for name in ("user", "item"))
    text = "".join(f"{user} {item}\n" for user, item in zip(users, items, strict=True))
    assert sha256(text) == ML_1M.sha256
    (tmp_path / "ml-1m.txt").write_text(text)
    lines = read_ml_1m(tmp_path / "ml-1m.txt")
    assert lines.identity == raw.identity
    assert lines.interactions.equals(raw.interactions)
    assert (lines.items, lines.users) == (None, None)


def test_ml_1m_in_another_order_is_told(real_data: Path, tmp_path: Path) -> None:
    table = pq.read_table(
        real_data / "ml-1m" / "interactions.parquet", columns=["user_id", "item_id"]
    )
    order = np.random.default_rng(0).permutation(table.num_rows)
    pq.write_table(table.take(pa.array(order)), tmp_path / "interactions.parquet")
    raw = read_ml_1m(tmp_path)
    assert raw.identity is not None
    assert raw.identity.name == "the same events, ordered otherwise within users"


def test_amazon_beauty(real_data: Path, tmp_path: Path) -> None:
    raw = read_amazon_beauty(real_data / "amazon-beauty")
    assert raw.identity is not None
    assert (raw.identity.name, raw.identity.published) == (BEAUTY.title, True)
    assert raw.interactions.num_rows == 198_502
    assert raw.items is not None
    assert raw.items.slice(0, 1).to_pylist() == [
        {"item": 1, "attributes": ["173", "1", "162", "171"]}
    ]
    # The authors' two files, rebuilt.
    sequences: dict[int, list[int]] = {}
    for row in raw.interactions.to_pylist():
        sequences.setdefault(row["user"], []).append(row["item"])
    lines = (" ".join(map(str, [user, *items])) for user, items in sequences.items())
    (tmp_path / "Beauty.txt").write_text("\n".join(lines) + "\n")
    attributes = {row["item"]: [int(a) for a in row["attributes"]] for row in raw.items.to_pylist()}
    (tmp_path / "Beauty_item2attributes.json").write_text(json.dumps(attributes))
    again = read_amazon_beauty(tmp_path)
    assert again.identity == raw.identity
    assert again.interactions.equals(raw.interactions)
    assert again.items is not None
    assert again.items.equals(raw.items)


def test_another_preprocessing_is_read_with_a_note(tmp_path: Path) -> None:
    (tmp_path / "Beauty.txt").write_text("1 1 2\n2 1\n")
    raw = read_amazon_beauty(tmp_path, filters=FilterOptions(min_user_events=2))
    assert raw.interactions.num_rows == 2
    assert raw.notes[0] == (
        "not the Beauty file of the S3-Rec paper: expected 22,363 users x 12,101 items and 198,502 "
        "events, found 2 users x 2 items and 3 events: an unknown preprocessing; published figures "
        "do not apply"
    )
    assert raw.identity is not None
    assert raw.identity.sha256 == sha256("1 1\n1 2\n2 1\n")  # of the file, before the filter


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("ml-1m.txt", "1 2\n3\n", r"line 2: '3' is a user without items"),
        ("ml-1m.txt", "", r"ml-1m\.txt: no data rows"),
        ("interactions.parquet", {"user_id": [1], "item": [2]}, r"no column 'item_id'"),
        (
            "interactions.parquet",
            {"user_id": [1], "item_id": [2], "position": ["x"]},
            r"row 1, column 'position': 'x' is no number",
        ),
        ("interactions.parquet", {"user_id": [1.5], "item_id": [2]}, r"row 1, column 'user_id'"),
        ("other.txt", "1 2\n", r"found neither interactions\.parquet nor ml-1m\.txt"),
    ],
)
def test_unusable_files(
    name: str, content: str | dict[str, list[Any]], message: str, tmp_path: Path
) -> None:
    if isinstance(content, str):
        (tmp_path / name).write_text(content)
    else:
        write_parquet(tmp_path / name, content)
    with pytest.raises(DataError, match=message):
        read_ml_1m(tmp_path)


@pytest.mark.parametrize("text", ["[1]", '{"1": 2}', "{"])
def test_unusable_attributes(text: str, tmp_path: Path) -> None:
    (tmp_path / "Beauty.txt").write_text("1 1 2\n")
    (tmp_path / "Beauty_item2attributes.json").write_text(text)
    with pytest.raises(DataError, match="item2attributes.json: expected a JSON object"):
        read_amazon_beauty(tmp_path)


def test_the_command_says_where_the_file_is_to_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RECHUB_CACHE", str(tmp_path))
    with pytest.raises(DataError, match=r"no archive to download: take data/ml-1m\.txt"):
        data_command.run(["ml_1m"])
    with pytest.raises(DataError, match=r"`rechub data ml_1m` says where to get it"):
        read_ml_1m(None)
    (tmp_path / "ml-1m").mkdir()
    (tmp_path / "ml-1m" / "ml-1m.txt").write_text("1 1\n1 2\n")
    data_command.run(["ml_1m"])
    printed = capsys.readouterr().out
    assert "ml-1m: 2 interactions" in printed
    assert sha256("1 1\n1 2\n") in printed
    assert "note: not the ml-1m file of the SASRec paper" in printed
