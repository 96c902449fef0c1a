"""Nothing fitted sees a held-out row, and an unknown id is worth something."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor

from rechub_cli.data.dataset import MatchData, SplitOptions, prepare
from rechub_cli.data.demo import make_demo
from rechub_cli.data.feature_options import FeatureOptions
from rechub_cli.data.interactions import index_raw
from rechub_cli.data.raw import RawData
from rechub_cli.data.splits import leave_one_out
from rechub_cli.data.vocabulary import OOV, PADDING
from rechub_cli.evaluation.model_scores import item_vectors
from rechub_cli.trainers.match_trainer import MatchTrainer
from tests.contract.conftest import make_model, tiny_raw


def prepared(raw: RawData, *, user_id: bool = False, embed_dim: int = 16) -> MatchData:
    return prepare(
        raw,
        split=SplitOptions(),
        features=FeatureOptions(max_len=8, user_id=user_id, oov_share=0.1),
        embed_dim=embed_dim,
        seed=0,
    )


def with_other_targets(raw: RawData) -> RawData:
    """Each user's validation and test items become an item that nobody else has."""
    data = index_raw(raw)[0]
    split = leave_one_out(data)
    events = raw.interactions
    names = events["item"].to_pylist()
    times = list(zip(events["user"].to_pylist(), events["timestamp"].to_pylist(), strict=True))
    rows = sorted(range(len(names)), key=times.__getitem__)
    for queries in (split.valid, split.test):
        for event in queries.history_end:
            names[rows[event]] = "a strange item"
    return RawData(
        events.set_column(events.column_names.index("item"), "item", pa.array(names)),
        items=raw.items,
        users=raw.users,
    )


def test_held_out_rows_change_nothing_that_is_fitted() -> None:
    one, other = prepared(tiny_raw()), prepared(with_other_targets(tiny_raw()))
    assert len(other.catalogue) == len(one.catalogue) + 1
    for name, vocabulary in one.encoded.vocabularies.items():
        assert vocabulary.values.equals(other.encoded.vocabularies[name].values), name
    assert one.encoded.scales == other.encoded.scales
    epochs = [d.train_loader(batch_size=16, seed=0).epoch(1) for d in (one, other)]
    for a, b in zip(*epochs, strict=True):
        for name in ("history_length", "age", "city"):
            assert torch.equal(a.features[name], b.features[name])
        ids_a, ids_b = (
            d.encoded.item["item_id"][batch.target] for d, batch in ((one, a), (other, b))
        )
        assert torch.equal(ids_a, ids_b)


def test_held_out_rows_do_not_tell_what_kind_a_column_is() -> None:
    """``page`` has two values in training, and one of its own in each held-out row."""
    raw = tiny_raw(users=40, events=4)
    held_out = 2 + np.arange(80).reshape(40, 2)
    page = np.hstack([np.tile([0, 1], (40, 1)), held_out]).ravel()
    events = raw.interactions.append_column("page", pa.array(page))
    encoded = prepared(RawData(events, items=raw.items, users=raw.users)).encoded
    assert "page" in encoded.event
    assert len(encoded.vocabularies["page"].values) == 2
    assert not [note for note in encoded.notes if note.startswith("page")]


def hits(model: torch.nn.Module, data: MatchData, user_id: int | None) -> float:
    """Mean reciprocal rank of the test items, the user's id replaced."""
    test = data.split.test
    batch = data.gather(torch.from_numpy(test.user), torch.from_numpy(test.history_end))
    if user_id is not None:
        batch["user_id"] = torch.full_like(batch["user_id"], user_id)
    with torch.no_grad():
        scores: Tensor = model.scores(model.user_tower(batch), item_vectors(model, data))  # type: ignore[operator, arg-type]
    target = torch.from_numpy(data.interactions.items[test.history_end].astype("int64"))
    rank = (scores >= scores.gather(1, target.unsqueeze(1))).sum(1)
    return float((1 / rank).mean())


@pytest.mark.parametrize("name", ["dssm", "youtube_dnn", "mind"])
def test_an_unknown_user_is_served_no_worse_than_one_without_the_feature(name: str) -> None:
    data = prepared(make_demo(3, 300, 60).raw, user_id=True)
    model = make_model(name, data)
    MatchTrainer(model, "listwise", {"lr": 5e-3}, 12, batch_size=256).fit(data)
    unknown, without = hits(model, data, OOV), hits(model, data, PADDING)
    assert unknown >= without - 0.01
    assert unknown >= 0.5 * hits(model, data, None)
