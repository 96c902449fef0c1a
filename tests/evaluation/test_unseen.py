"""Users and items that training never saw. The table's world: 8 users walk over items a-f."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from rechub_cli.data.dataset import MatchData, SplitOptions, prepare
from rechub_cli.data.feature_options import FeatureOptions
from rechub_cli.data.raw import RawData
from rechub_cli.evaluation import unseen
from rechub_cli.evaluation.model_scores import evaluate_model, model_scorer
from rechub_cli.evaluation.ranking import MISS
from rechub_cli.evaluation.unseen import (
    empty_histories,
    query_counts,
    seen_targets,
    unknown_users,
)
from tests.contract.conftest import NAMES, make_model

EVENTS = [
    *[(f"u{n}", item, "train") for n in range(8) for item in "abcdef"[: 2 + n % 5]],
    *[(f"u{n}", "f" if n % 5 < 4 else "a", "valid") for n in range(8)],
    ("one event", "a", "train"),
    ("one event", "cold", "test"),
    ("only features", "b", "test"),
    ("only an age", "b", "test"),
    ("not in the table", "cold", "test"),
    ("features unknown", "blank", "test"),
    ("saw only what is cold", "cold", "valid"),
    ("saw only what is cold", "a", "test"),
]
"""User, item, part. ``cold`` and ``blank`` have no training row."""
ITEMS = {"a": "x", "b": "x", "c": "y", "d": "y", "e": "x", "f": "y", "cold": "x", "blank": None}
USERS: dict[str, tuple[str | None, float | None]] = {
    **{f"u{n}": (f"t{n % 2}", 20.0 + n if n else None) for n in range(8)},
    "one event": ("t0", 30.0),
    "only features": ("t1", None),
    "only an age": (None, 40.0),
    "features unknown": ("nowhere", None),
    "saw only what is cold": (None, None),
}


def events() -> pa.Table:
    user, item, part = (list(column) for column in zip(*EVENTS, strict=True))
    return pa.table({"user": user, "item": item, "split": part})


def world(*, users: bool = True) -> MatchData:
    return prepare(
        RawData(
            events(),
            items=pa.table({"item": list(ITEMS), "kind": list(ITEMS.values())}),
            users=pa.table(
                {
                    "user": list(USERS),
                    "town": [town for town, _ in USERS.values()],
                    "age": [age for _, age in USERS.values()],
                }
            )
            if users
            else None,
        ),
        split=SplitOptions("given"),
        features=FeatureOptions(max_len=8),
        embed_dim=16,
        seed=0,
    )


def names(data: MatchData) -> list[str]:
    return [data.users.ids[int(u)].as_py() for u in data.split.test.user]


def row(data: MatchData, item: str) -> int:
    return int(data.catalogue.ids.to_pylist().index(item))


def test_who_is_known() -> None:
    data = world()
    asked, queries = names(data), data.split.test
    empty = {asked[i] for i in np.flatnonzero(empty_histories(data, queries))}
    assert empty == set(asked) - {"one event"}
    unknown = {asked[i] for i in np.flatnonzero(unknown_users(data, queries))}
    assert unknown == {"not in the table", "features unknown", "saw only what is cold"}
    assert query_counts(data, "test") == {
        "queries": 6,
        "empty_history": 5,
        "ranked_by_features": 2,
        "ranked_by_popularity": 3,
    }
    assert query_counts(world(users=False), "test")["ranked_by_popularity"] == 5


@pytest.mark.parametrize("name", NAMES)
def test_popularity_ranks_for_those_of_whom_nothing_is_known(name: str) -> None:
    """And the model for the others, also after one event only."""
    data = world()
    model, queries = make_model(name, data).eval(), data.split.test
    found = model_scorer(model, data, queries)(slice(0, len(queries)))
    unknown = unknown_users(data, queries)
    assert (found[unknown] == data.train_counts).all()
    assert found[unknown].argmax(dim=1).tolist() == [row(data, "a")] * 3
    others = found[~unknown]
    assert torch.isfinite(others).all()
    assert (others != data.train_counts).all()
    assert len(others.unique(dim=0)) == len(others)  # each by what is known of it


@pytest.mark.parametrize("name", NAMES)
def test_an_item_with_features_is_ranked_and_one_without_is_a_miss(name: str) -> None:
    data = world()
    _, ranking = evaluate_model(make_model(name, data), data, split="test", top_k=[8])
    rank = dict(zip(names(data), ranking.ranks.tolist(), strict=True))
    assert 1 <= rank["one event"] <= 7
    assert rank["not in the table"] == 7  # popularity has it last, after the 6 known ones
    assert rank["features unknown"] == MISS
    listed = {i for i in ranking.top_items.ravel().tolist() if i >= 0}
    assert row(data, "cold") in listed
    assert row(data, "blank") not in listed


def test_a_number_is_a_feature_too() -> None:
    """An item known by a number alone is ranked; one whose number is missing is not."""
    numbers = {**{item: float(n) for n, item in enumerate(ITEMS)}, "a": None, "blank": None}
    items = pa.table({"item": list(numbers), "price": list(numbers.values())})
    data = prepare(
        RawData(events(), items, None),
        split=SplitOptions("given"),
        features=FeatureOptions(),
        embed_dim=4,
        seed=0,
    )
    assert data.candidates[row(data, "cold")]
    assert not data.candidates[row(data, "blank")]
    assert data.candidates.sum() == 7


@pytest.mark.parametrize(("looked_at", "found"), [(10_000, (2, 5)), (2, (1, 2))])
def test_targets_that_stand_in_their_history(
    looked_at: int, found: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of four users two come back to an item, the second of these to one of two targets; of two
    queries evenly apart, the first and the third are looked at."""
    monkeypatch.setattr(unseen, "LOOKED_AT", looked_at)
    histories = {"a": ("aba", "a"), "b": ("cb", "ab"), "c": ("bc", "a"), "d": ("b", "c")}
    rows = [
        (user, item, part)
        for user, items in histories.items()
        for part, some in zip(("train", "test"), items, strict=True)
        for item in some
    ]
    rows += [("e", "a", "train"), ("e", "a", "valid"), ("e", "b", "valid")]
    columns = (list(column) for column in zip(*rows, strict=True))
    data = prepare(
        RawData(pa.table(dict(zip(("user", "item", "split"), columns, strict=True))), None, None),
        split=SplitOptions("given"),
        features=FeatureOptions(),
        embed_dim=4,
        seed=0,
    )
    assert seen_targets(data, "test") == found
    assert seen_targets(data, "valid") == (1, 2)
