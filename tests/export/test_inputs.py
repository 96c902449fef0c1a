"""Raw values are encoded by inputs.json and vocabulary.parquet alone, as training encodes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from rechub_cli.data.dataset import MatchData, SplitOptions, prepare
from rechub_cli.data.feature_options import FeatureOptions
from rechub_cli.data.raw import RawData
from rechub_cli.export.inputs import write_inputs
from rechub_cli.export.onnx import export_tower
from rechub_cli.models.matching.base import MatchingModel
from tests.contract.conftest import MAX_LEN, make_model, tiny_raw
from tests.readme import README

Row = dict[str, Any]


class Encoding:
    """What a server makes of the two files; it knows nothing of this package."""

    def __init__(self, folder: Path) -> None:
        self.said = json.loads((folder / "inputs.json").read_text())
        self.ids: dict[tuple[str, str], int] = {
            (row["vocabulary"], row["value"]): row["id"]
            for row in pq.read_table(folder / "vocabulary.parquet").to_pylist()
        }

    def one(self, spec: Row, value: Any) -> Any:
        """An input of one value, or of a list of them, padding apart."""
        if spec["kind"] == "number":
            if value is None or spec["std"] is None:
                return 0.0
            most = self.said["furthest"]
            return max(-most, min(most, (value - spec["mean"]) / spec["std"]))
        if spec["kind"] == "missing":
            return float(value is None)
        if spec["kind"] == "id":
            return self.ids.get((spec["vocabulary"], str(value)), self.said["unknown"])
        found = (self.ids.get((spec["vocabulary"], str(v))) for v in value)
        return [v for v in found if v is not None]

    def history(self, items: Sequence[str], table: dict[str, Row]) -> dict[str, list[Any]]:
        """The inputs of a history: what the items are, or a column of theirs."""
        known = [item for item in items if ("item_id", item) in self.ids][-self.said["max_len"] :]
        out = {}
        for spec in self.said["user"]:
            if spec["kind"] == "ids" and spec["input"].startswith("history"):
                column = spec["column"]
                values = known if column is None else [table[item][column] for item in known]
                lists = bool(values) and isinstance(values[0], list)
                kind = {**spec, "kind": "ids" if lists else "id"}
                out[spec["input"]] = [self.one(kind, value) for value in values]
        return out


def raw_data() -> RawData:
    """The tiny data, whose users have a column of an item column's name."""
    raw = tiny_raw()
    assert raw.users is not None
    return replace(raw, users=raw.users.append_column("colour", pa.array(["c1", "c9"] * 6)))


@pytest.fixture(scope="module")
def data() -> MatchData:
    """Some items have fewer events than a vocabulary takes."""
    return prepare(
        raw_data(),
        split=SplitOptions(),
        features=FeatureOptions(max_len=MAX_LEN, user_id=True, min_count=4),
        embed_dim=16,
        seed=0,
    )


@pytest.fixture(scope="module")
def model(data: MatchData) -> MatchingModel:
    return make_model("mind", data)


def as_lists(tensor: torch.Tensor, length: torch.Tensor | None = None) -> list[Any]:
    if length is None:
        return [round(v, 5) if isinstance(v, float) else v for v in tensor.tolist()]
    return [row[:count] for row, count in zip(tensor.tolist(), length.tolist(), strict=True)]


@pytest.mark.parametrize("side", ["user", "item"])
def test_side_columns(side: str, data: MatchData, model: MatchingModel, tmp_path: Path) -> None:
    write_inputs(model, data, str(tmp_path))
    encoding = Encoding(tmp_path)
    raw, encoded = raw_data(), data.encoded
    table, own, tensors = (
        (raw.items, data.catalogue.ids, encoded.item)
        if side == "item"
        else (raw.users, data.users.ids, encoded.user)
    )
    assert table is not None
    rows = table.to_pylist()
    order = [own.to_pylist().index(row[side]) for row in rows]
    compared = []
    names = [spec["input"] for spec in encoding.said[side]]
    for spec in encoding.said[side]:
        if spec["kind"] == "length":
            assert spec["of"] in names and spec["of"] != spec["input"]
        if spec["kind"] == "length" or spec["input"].startswith("history"):
            continue
        name = spec["input"]
        found = [encoding.one(spec, row[spec["column"] or side]) for row in rows]
        found = [round(v, 5) if isinstance(v, float) else v for v in found]
        lengths = tensors.get(f"{name}_length")
        mine = as_lists(tensors[name][order], None if lengths is None else lengths[order])
        assert found == mine, name
        compared.append(name)
    wanted = {"item": ["item_id", "genres", "item_colour", "price"]}
    wanted["user"] = ["user_id", "age", "age_missing", "city", "user_colour"]
    assert sorted(compared) == sorted(wanted[side])


def test_histories(data: MatchData, model: MatchingModel, tmp_path: Path) -> None:
    write_inputs(model, data, tmp_path)
    encoding = Encoding(tmp_path)
    items = raw_data().items
    assert items is not None
    table = {row["item"]: row for row in items.to_pylist()}
    assert any(("item_id", item) not in encoding.ids for item in table)
    test = data.split.test
    names, events = data.catalogue.ids.to_pylist(), data.interactions.items
    batch = data.gather(torch.from_numpy(test.user), torch.from_numpy(test.history_end))
    distinct = batch["history_index"]
    for row, (user, end) in enumerate(zip(test.user, test.history_end, strict=True)):
        past = [names[i] for i in events[data.interactions.offsets[user] : end]]
        found = encoding.history(past, table)
        length = int(batch["history_length"][row])
        places = distinct[row, :length]
        assert len(found["history"]) == length
        for name in ("history", "history_item_colour"):
            assert found[name] == batch[name][places].tolist(), name
        lists = as_lists(batch["history_genres"][places], batch["history_genres_length"][places])
        assert found["history_genres"] == lists


def test_the_readme_s_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its code is run as it stands there, on a history with an item that nobody knows."""
    code = next(c for c in README.read_text().split("```python")[1:] if "last_skus" in c)
    data = prepare(
        RawData(tiny_raw().interactions),
        split=SplitOptions(),
        features=FeatureOptions(max_len=MAX_LEN),
        embed_dim=16,
        seed=0,
    )
    model = make_model("sasrec", data).eval()
    export_tower(model, tmp_path / "export" / "user_tower.onnx", tower="user")
    write_inputs(model, data, tmp_path / "export")
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {"last_skus": ["i03", "a strange item", "i07"]}
    exec(code.split("```")[0], found)
    known = data.encoded.item["item_id"]
    ids = [int(known[data.catalogue.ids.to_pylist().index(name)]) for name in ("i03", "i07")]
    batch = {"history": torch.tensor([ids]), "history_length": torch.tensor([2])}
    with torch.no_grad():
        own = model.user_tower(batch).numpy()
    assert found["vectors"] == pytest.approx(own, abs=1e-5)
