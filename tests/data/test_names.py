"""What columns are called as features, and the columns that Python's loader takes."""

from __future__ import annotations

import pyarrow as pa
import pytest
import torch

from rechub_cli import SplitOptions, load_interactions
from rechub_cli.data.feature_options import FeatureOptions
from rechub_cli.errors import ConfigError, DataError
from rechub_cli.features import SequenceFeature
from tests.data.test_encode import data, items_table


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        (("tags", "tags_length"), ["tags", "item_tags_length"]),
        (("tags_length", "tags"), ["item_tags_length", "tags"]),
        (("type", "items", "class"), ["type", "items", "class"]),
        (("length",), ["item_length"]),
        (("index",), ["item_index"]),
        (("user_vector", "item_vector"), ["item_user_vector", "item_item_vector"]),
        (("price", "price_missing"), ["price", "price_missing", "item_price_missing"]),
    ],
)
def test_a_column_is_not_taken_for_something_of_ours(
    columns: tuple[str, ...], names: list[str]
) -> None:
    cells: dict[str, list[object]] = {
        "tags": [["x"], ["x", "y"], [], ["y"], ["x"], ["x", "y", "x"], ["y"]],
        "price": [1.0, 2.0, None, 4.0, 5.0, 6.0, 7.0],
    }
    whole: list[object] = [90, 91, 92, 90, 91, 92, 90]
    found = data(items=items_table(**{c: cells.get(c, whole) for c in columns})).encoded
    assert [f.name for f in found.schema.item_features] == ["item_id", *names]
    for name in names:
        lists = isinstance(found.schema.by_name[name], SequenceFeature)
        if lists:
            assert found.item[f"{name}_length"].tolist() == [1, 2, 0, 1, 1, 3, 1, 0]
        elif found.item[name].dtype == torch.int64:
            # 90 and 92 are as frequent as they are in training.
            assert found.item[name][0] != found.item[name][1]
            assert found.item[name][0] == found.item[name][3]


def test_a_user_column_is_not_taken_for_a_history() -> None:
    users = pa.table({"user": [1, 2, 3], "history_kind": ["x", "x", "y"]})
    found = data(items=items_table(kind=list("xyxyxyx")), users=users).encoded
    assert [f.name for f in found.schema.profile][-1] == "user_history_kind"


@pytest.mark.parametrize("order", [("item_length", "length"), ("length", "item_length")])
def test_a_column_that_no_prefix_helps_is_named(order: tuple[str, str]) -> None:
    table = items_table(item_length=list("xyxyxyx"), length=list("xyxyxyx"))
    table = table.select(["item", *order])
    with pytest.raises(DataError, match=r"side column 'length' .*features.exclude=\[length\]"):
        data(items=table)


def test_one_of_two_columns_of_a_name_is_told_by_the_name_that_it_gets() -> None:
    tables = {
        "items": items_table(kind=list("xyxyxyx")),
        "users": pa.table({"user": [1, 2, 3], "kind": ["x", "x", "y"]}),
    }
    one = data(FeatureOptions(exclude=("item_kind",)), **tables).encoded
    assert "user_kind" in one.user and "item_kind" not in one.item
    none = data(FeatureOptions(exclude=("kind",)), **tables).encoded
    assert "user_kind" not in none.user and "item_kind" not in none.item
    with pytest.raises(ConfigError, match="names 'event_kind', which is no side column"):
        data(FeatureOptions(exclude=("event_kind",)), **tables)
    with pytest.raises(ConfigError, match="user_kind holds string; features.types=dense needs one"):
        data(FeatureOptions(types={"user_kind": "dense"}), **tables)


@pytest.mark.parametrize("name", ["", "__index_level_0__"])
def test_the_index_of_a_data_frame_is_no_feature(name: str) -> None:
    found = data(items=items_table(**{name: list("xyxyxyx"), "kind": list("xyxyxyx")})).encoded
    assert [f.name for f in found.schema.item_features] == ["item_id", "kind"]
    assert f"column {name!r} of an index, without a name: left out" in found.notes


def test_ready_made_vectors_are_no_categories() -> None:
    vectors: list[object] = [[0.5 * n, 1.0] for n in range(7)]
    found = data(items=items_table(emb=vectors)).encoded
    assert [f.name for f in found.schema.item_features] == ["item_id"]
    assert found.notes[0].startswith("emb: left out, lists of numbers with fractions")
    kept = data(FeatureOptions(types={"emb": "multi"}), items=items_table(emb=vectors)).encoded
    assert "emb" in kept.item


def test_infinite_numbers_are_told() -> None:
    found = data(items=items_table(price=[1.0, float("inf"), *[2.0] * 5])).encoded
    assert "price: 1 infinite values count as missing" in found.notes
    assert found.item["price_missing"].tolist()[:3] == [0, 1, 0]


def test_columns_of_an_event_are_read_from_python() -> None:
    """Weights, context and the part of a split that came with the data."""
    table = pa.table(
        {
            "user_id": [1, 1, 1, 2, 2, 2],
            "item_id": list("abcbca"),
            "timestamp": list(range(6)),
            "w": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            "part": ["train", "valid", "test"] * 2,
            "page": list("xyxyxy"),
        }
    )
    found = load_interactions(
        table, weight="w", split_column="part", context=["page"], split=SplitOptions("given")
    )
    assert found.interactions.weights is not None
    assert found.interactions.weights.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert found.split.train_end.tolist() == [1, 4]
    assert list(found.encoded.event) == ["page"]
    with pytest.raises(DataError, match="from Python: split_column"):
        load_interactions(table, split=SplitOptions("given"))
