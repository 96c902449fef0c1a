"""What both sides of a peer comparison are fed; nothing is timed or installed here."""

from __future__ import annotations

import pyarrow as pa
import pytest

from rechub_cli.data.load import load_interactions
from tests.benchmarks.peers.__main__ import CASES, WIDTH, Case, our_config
from tests.benchmarks.peers.samples import NEGATIVES, samples

# User "a" trains on p, q, r (s and t are held out), user "b", too short for that, on q.
DATA = {
    "user_id": ["a", "a", "b", "a", "a", "a"],
    "item_id": ["p", "q", "q", "r", "s", "t"],
    "timestamp": [1, 2, 3, 4, 5, 6],
}


def test_samples_are_the_training_events_with_their_histories() -> None:
    data = load_interactions(pa.table(DATA))
    found = samples(data, max_len=2, pointwise=False)
    name = dict(enumerate(["-", *data.catalogue.ids.to_pylist()]))
    rows = {
        (int(u), name[int(i)], tuple(name[int(h)] for h in history))
        for u, i, history in zip(found["user_id"], found["item_id"], found["history"], strict=True)
    }
    assert rows == {
        (1, "p", ("-", "-")),
        (1, "q", ("-", "p")),
        (1, "r", ("p", "q")),
        (2, "q", ("-", "-")),
    }
    assert found["neg_items"].shape == (4, NEGATIVES)
    assert found["neg_items"].min() >= 1
    assert found["neg_items"].max() <= len(data.catalogue)
    assert found["label"].tolist() == [0] * 4


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.model)
def test_our_side_is_a_config_that_train_takes(case: Case) -> None:
    config = our_config(case, "somewhere")
    assert config.model.name == case.model
    assert config.model.embed_dim == WIDTH
    assert config.trainer.negatives.num_negatives == NEGATIVES


def test_pointwise_samples_have_a_row_for_every_pair() -> None:
    data = load_interactions(pa.table(DATA))
    pairs = samples(data, max_len=2, pointwise=True)
    lists = samples(data, max_len=2, pointwise=False)
    assert pairs["label"].tolist() == [1, 0, 0, 0] * 4
    assert pairs["item_id"][::4].tolist() == lists["item_id"].tolist()
    assert pairs["item_id"].reshape(4, 4)[:, 1:].tolist() == lists["neg_items"].tolist()
    assert pairs["history"][::4].tolist() == lists["history"].tolist()
    assert "neg_items" not in pairs
