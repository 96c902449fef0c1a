"""What both sides of a peer comparison are fed; nothing is timed or installed here."""

from __future__ import annotations

import pyarrow as pa
import pytest

from rechub_cli.data.load import load_interactions
from tests.benchmarks.peers.cases import QUALITIES, SPEEDS, Quality, Speed
from tests.benchmarks.peers.ranking import histories
from tests.benchmarks.peers.samples import rows, sequences
from tests.benchmarks.peers.speed import our_config
from tests.benchmarks.peers.table import RECORD, merge, render, row_names
from tests.benchmarks.peers.venv import PACKAGES
from tests.benchmarks.peers.worker import HERE
from tests.benchmarks.record import Record, Row
from tests.benchmarks.synthetic import shipped
from tests.readme import README

NEGATIVES = 3

# User "a" trains on p, q, r (s and t are held out), user "b", too short for that, on q.
DATA = {
    "user_id": ["a", "a", "b", "a", "a", "a"],
    "item_id": ["p", "q", "q", "r", "s", "t"],
    "timestamp": [1, 2, 3, 4, 5, 6],
}


def test_samples_are_the_training_events_with_their_histories() -> None:
    data = load_interactions(pa.table(DATA))
    found = rows(data, max_len=2, negatives=NEGATIVES, pointwise=False)
    name = dict(enumerate(["-", *data.catalogue.ids.to_pylist()]))
    samples = {
        (int(u), name[int(i)], tuple(name[int(h)] for h in history))
        for u, i, history in zip(found["user_id"], found["item_id"], found["history"], strict=True)
    }
    assert samples == {
        (1, "p", ("-", "-")),
        (1, "q", ("-", "p")),
        (1, "r", ("p", "q")),
        (2, "q", ("-", "-")),
    }
    assert found["neg_items"].shape == (4, NEGATIVES)
    assert found["neg_items"].min() >= 1
    assert found["neg_items"].max() <= len(data.catalogue)
    assert found["label"].tolist() == [0] * 4


def test_queries_have_what_stands_before_the_held_out_events() -> None:
    data = load_interactions(pa.table(DATA))
    found = rows(data, max_len=2, negatives=NEGATIVES, pointwise=False)
    name = dict(enumerate(["-", *data.catalogue.ids.to_pylist()]))
    first = [[name[int(i)] for i in found[f"{part}_history"][0]] for part in ("valid", "test")]
    assert first == [["q", "r"], ["r", "s"]]


def test_windows_are_of_training_events_alone() -> None:
    data = load_interactions(pa.table(DATA))
    found = sequences(data, max_len=3)
    name = dict(enumerate(["-", *data.catalogue.ids.to_pylist()]))
    windows = [[[name[int(i)] for i in row] for row in found[k]] for k in ("sequence", "positive")]
    assert windows == [
        [["p", "q", "-"], ["-", "-", "-"]],
        [["q", "r", "-"], ["-", "-", "-"]],
    ]
    assert found["offsets"].tolist() == [0, 5, 6]


def test_lists_leave_out_what_stands_before_the_target() -> None:
    data = load_interactions(pa.table(DATA))
    found = histories(data, data.split.test)
    name = data.catalogue.ids.to_pylist()
    assert [name[i] for i in found["seen"]] == ["p", "q", "r", "s"]
    assert found["offsets"].tolist() == [0, 4]


@pytest.mark.parametrize("case", SPEEDS, ids=lambda case: case.name)
def test_our_side_is_a_config_that_train_takes(case: Speed) -> None:
    config = our_config(case, "somewhere")
    assert config.model.name == case.model
    assert config.trainer.negatives.num_negatives == (case.scored - 1 or None)
    assert (HERE / f"{case.peer}_worker.py").is_file()
    assert case.peer in PACKAGES


@pytest.mark.parametrize("case", QUALITIES, ids=lambda case: case.names[0])
def test_whole_runs_are_of_shipped_recipes(case: Quality) -> None:
    config = shipped(f"recipe={case.recipe}", "data.path=somewhere")
    assert config.model.name == case.model
    assert case.peer in PACKAGES


def test_pointwise_samples_have_a_row_for_every_pair() -> None:
    data = load_interactions(pa.table(DATA))
    pairs = rows(data, max_len=2, negatives=NEGATIVES, pointwise=True)
    lists = rows(data, max_len=2, negatives=NEGATIVES, pointwise=False)
    assert pairs["label"].tolist() == [1, 0, 0, 0] * 4
    assert pairs["item_id"][::4].tolist() == lists["item_id"].tolist()
    assert pairs["item_id"].reshape(4, 4)[:, 1:].tolist() == lists["neg_items"].tolist()
    assert pairs["history"][::4].tolist() == lists["history"].tolist()
    assert "neg_items" not in pairs


def test_the_readme_shows_the_recorded_peers() -> None:
    assert render(Record.load(RECORD)) in README.read_text(), "python -m tests.benchmarks.peers"


def test_every_case_is_recorded() -> None:
    assert [row.name for row in Record.load(RECORD).rows] == row_names(), "make bench-peers"


def test_a_part_that_is_measured_again_replaces_its_rows_alone() -> None:
    one, two = (Row(case.name, 2.0, 0.5, "theirs", 0.0, 5) for case in SPEEDS[:2])
    whole = Row(QUALITIES[0].names[0], 3.0, 0.1, "theirs", 0.0, 1, target=0.05, note="said")
    before = Record([two, whole], {"cores": 2, "processor": "x", "torch": "2"})
    again = Row(two.name, 4.0, 0.25, "theirs", 0.0, 5, rate=1000.0, unit="pairs")
    found = merge(before, [again, one])
    assert found.rows == [one, again, whole]
    lines = render(found).splitlines()
    assert "| comirec_sa | 1,000 pairs/s | 250 | 0.25 |  |  |" in lines[4]
    assert "| 3.0 s | 30.0 s | 0.1 | 0.05 | said |" in lines[5]
