"""What steps read: windows or a row a target, as the data ask for, and how many."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from torch.testing import assert_close

from rechub_cli.commands.train import make_trainer
from rechub_cli.data.dataset import MatchData, SplitOptions, prepare
from rechub_cli.data.feature_options import FeatureOptions
from rechub_cli.data.load import load_interactions
from rechub_cli.data.raw import WEIGHT
from rechub_cli.errors import ConfigError, DataError
from rechub_cli.trainers.loading import (
    batch_rows,
    training_loader,
    training_samples,
)
from rechub_cli.trainers.match_trainer import MatchTrainer
from rechub_cli.trainers.options import NegativeOptions
from rechub_cli.trainers.reporter import Reporter
from tests.benchmarks.synthetic import shipped
from tests.contract.conftest import make_model, tiny_raw


def causal_data(
    *, users: int, events: int, items: int = 20, max_len: int = 300, profiles: bool = True
) -> MatchData:
    raw = tiny_raw(users=users, events=events, items=items)
    return prepare(
        raw if profiles else replace(raw, users=None),
        split=SplitOptions(),
        features=FeatureOptions(max_len=max_len),
        embed_dim=16,
        seed=0,
    )


@pytest.mark.parametrize(
    ("users", "events", "items", "samples"),
    [
        (140, 9, 20, "prefixes"),  # 49 training events an item
        (145, 9, 20, "windows"),  # 51
        (10, 42, 100, "prefixes"),  # 4 an item, 20 items before a target on average
        (10, 44, 100, "windows"),  # 21
    ],
)
def test_prefixes_where_data_are_sparse_and_histories_short(
    users: int, events: int, items: int, samples: str
) -> None:
    data = causal_data(users=users, events=events, items=items)
    length = [n for n in range(events - 2) if n > 0]
    assert data.mean_history == pytest.approx(sum(length) / len(length))
    assert training_samples(data, make_model("sasrec", data), "auto") == samples
    assert training_samples(data, make_model("dssm", data), "auto") == "prefixes"


@pytest.mark.parametrize(("profiles", "targets"), [(True, 7), (False, 6)])
@pytest.mark.parametrize("name", ["gru4rec", "sasrec"])
def test_a_prefix_and_its_place_in_a_window_are_the_same_sample(
    name: str, profiles: bool, targets: int
) -> None:
    """As user vectors without dropout, target by target: each training event, and a user's first
    one where there are user features to tell it by."""
    data = causal_data(users=12, events=9, max_len=8, profiles=profiles)
    model = make_model(name, data).eval()
    assert model.reads_users == profiles
    found = {}
    for samples in ("windows", "prefixes"):
        loader = training_loader(data, model, samples=samples, batch_size=1000, seed=0)
        loader.oov_share = 0.0
        (batch,) = loader.epoch(1)
        if batch.position is None:
            vectors = model.user_tower(batch.features)
        else:
            vectors = model.position_vectors(batch.features).flatten(0, 1)[batch.position]
        order = batch.event.argsort()
        found[samples] = (batch.event[order], batch.target[order], vectors[order])
    assert_close(found["windows"], found["prefixes"], rtol=1e-4, atol=1e-5)
    assert len(found["windows"][0]) == 12 * targets


@pytest.mark.parametrize(("profiles", "targets"), [(True, 7), (False, 6)])
def test_other_models_learn_from_first_events_by_user_features(
    profiles: bool, targets: int
) -> None:
    data = causal_data(users=12, events=9, profiles=profiles)
    loader = training_loader(
        data, make_model("dssm", data), samples="auto", batch_size=1000, seed=0
    )
    assert loader.num_rows == 12 * targets


@pytest.mark.parametrize("name", ["dssm", "youtube_dnn", "mind", "comirec_dr", "comirec_sa"])
def test_an_empty_history_of_nobody_has_a_gradient_like_any_other(name: str) -> None:
    """Of a user's own rows: the vector is 0, by whose norm a gradient would be divided."""
    data = causal_data(users=12, events=9, profiles=False)
    model = make_model(name, data)
    user = torch.tensor([0, 1])
    batch = data.gather(user, data.gather.offsets[user])  # up to the user's first event
    model.user_tower(batch).sum().backward()
    steepest = max(float(p.grad.abs().max()) for p in model.parameters() if p.grad is not None)
    assert 0 < steepest < 1e4


@pytest.mark.parametrize("samples", ["windows", "prefixes"])
def test_both_train(samples: str, tiny: MatchData) -> None:
    model = make_model("gru4rec", tiny)
    trainer = MatchTrainer(model, "listwise", n_epoch=20, samples=samples, patience=None)
    losses = [result.loss for result in trainer.fit(tiny)]
    assert losses[-1] < losses[0] - 0.1


@pytest.mark.parametrize("samples", ["windows", "prefixes"])
@pytest.mark.parametrize("name", ["gru4rec", "sasrec"])
def test_windows_are_no_longer_than_the_model_reads(name: str, samples: str) -> None:
    """Histories of 300 in the data, 8 in the model: the loader is that of data with 8."""
    long, short = causal_data(users=4, events=30), causal_data(users=4, events=30, max_len=8)
    model = make_model(name, long)
    batches = []
    for data in (long, short):
        loader = training_loader(data, model, samples=samples, batch_size=5, seed=0)
        batches.append(list(loader.epoch(1)))
    for one, other in zip(*batches, strict=True):
        assert_close(one.features, other.features)
        assert one.target.tolist() == other.target.tolist()
    losses = MatchTrainer(model, "listwise", n_epoch=1, samples=samples).fit(long)
    assert len(losses) == 1
    batch = next(long.window_loader(batch_size=2, seed=0).epoch(1))
    with pytest.raises(ConfigError, match="windows of 32 places, and the model reads max_len=8"):
        model.position_vectors(batch.features)


@pytest.mark.parametrize("samples", ["windows", "prefixes"])
def test_nothing_to_predict_is_an_error(samples: str) -> None:
    """Of three events a user one is trained on: nothing stands before it, nothing else is known."""
    data = causal_data(users=30, events=3, profiles=False)
    model = make_model("sasrec", data)
    with pytest.raises(DataError, match="no user has two training events"):
        training_loader(data, model, samples=samples, batch_size=None, seed=0)


def test_a_catalogue_of_one_item_is_an_error() -> None:
    frame = pd.DataFrame({"user_id": np.repeat(np.arange(9), 4), "item_id": 1})
    data = load_interactions(frame)
    with pytest.raises(DataError, match="^1 item has training events, and a target is learned"):
        training_loader(data, make_model("dssm", data), samples="auto", batch_size=None, seed=0)


@pytest.mark.parametrize("samples", ["windows", "prefixes"])
def test_first_events_alone_are_learned_by_user_features(samples: str) -> None:
    data = causal_data(users=30, events=3)
    model = make_model("gru4rec", data)
    before = {name: p.clone() for name, p in model.user_tower.named_parameters()}
    trainer = MatchTrainer(model, "listwise", n_epoch=1, samples=samples)
    (result,) = trainer.fit(data)
    assert result.loss > 0
    moved = {n for n, p in model.user_tower.named_parameters() if not p.equal(before[n])}
    assert "project.weight" in moved


def test_windows_need_a_causal_model(tiny: MatchData) -> None:
    with pytest.raises(ConfigError, match="samples='windows' needs a causal model.*DSSM has none"):
        MatchTrainer(make_model("dssm", tiny), samples="windows")
    with pytest.raises(ConfigError, match="samples='window'; allowed: auto, windows, prefixes.*"):
        MatchTrainer(make_model("sasrec", tiny), samples="window")


@pytest.mark.parametrize(
    ("users", "events", "windows"),
    [
        (4, 303, 1),  # windows of 300 targets: one has the 256 that a step needs at least
        (100, 43, 6),  # 4,000 targets of 40 a window: 256 a step, for few steps
        (400, 303, 1),  # 120,000 targets: 256 steps of 468, in windows of 300
        (3000, 103, 11),  # 300,000 targets of 100 a window: 256 steps of 1,171
        (6000, 103, 20),  # 600,000 targets: 2,048 a step, for more steps than 256
        (6000, 8, 51),  # 30,000 targets of 5 a window: 256 a step
        (40_000, 8, 128),  # 200,000 of 5: 256 steps would have 156 windows
    ],
)
def test_windows_of_a_step_follow_from_the_data(users: int, events: int, windows: int) -> None:
    data = causal_data(users=users, events=events, profiles=False)
    assert batch_rows(data, make_model("sasrec", data), None, "windows") == windows


def test_windows_of_first_events_alone_are_targets_too() -> None:
    """One training event a user: a step of one window would have one target."""
    data = causal_data(users=3000, events=3)
    assert batch_rows(data, make_model("sasrec", data), None, "windows") == 128


def test_rows_of_a_step(tiny: MatchData) -> None:
    assert batch_rows(tiny, make_model("dssm", tiny), None) == 512
    assert batch_rows(tiny, make_model("sasrec", tiny), None, "prefixes") == 256
    assert batch_rows(tiny, make_model("sasrec", tiny), 7) == 7


@pytest.mark.parametrize("name", ["mind", "sasrec"])
def test_data_in_which_no_event_counts_are_refused(name: str) -> None:
    raw = tiny_raw(users=90)
    weights = pa.array([0.0] * raw.events.num_rows)
    data = prepare(
        replace(raw, events=raw.events.append_column(WEIGHT, weights)),
        split=SplitOptions(),
        features=FeatureOptions(max_len=8),
        embed_dim=16,
        seed=0,
    )
    with pytest.raises(DataError, match="the weight of every event is 0"):
        training_loader(data, make_model(name, data), samples="auto", batch_size=None, seed=0)


def test_fewer_queries_share_what_is_cached(tiny: MatchData) -> None:
    most = len(tiny.split.test)
    assert tiny.with_fewer_queries(most) is tiny
    fresh = copy.copy(tiny)
    for name in ("gather", "candidates"):
        vars(fresh).pop(name, None)
    fewer = fresh.with_fewer_queries(most - 1)
    assert len(fewer.split.test) == most - 1
    assert fewer.gather is fresh.gather
    assert fewer.candidates is fresh.candidates


def test_the_shell_s_options_reach_the_loop(tiny: MatchData) -> None:
    options = {
        "n_epoch": 9, "patience": 3, "monitor": "hr@5", "valid_queries": 7, "clip_norm": 2.0,
        "accumulate": 4, "batch_size": 11, "samples": "prefixes",
    }  # fmt: skip
    words = [f"trainer.{key}={value}" for key, value in options.items()]
    words += ["trainer.schedule.name=anneal", "trainer.schedule.warmup_steps=5", "seed=6"]
    words += ["trainer.negatives.sampler=uniform", "trainer.negatives.num_negatives=3"]
    words += ["trainer.optimizer_params.name=sgd", "evaluation.mask_seen=false"]
    config = shipped("model=dssm", *words)
    trainer: Any = make_trainer(config, make_model("dssm", tiny), run_dir=None, reporter=Reporter())
    expected = {
        **options, "schedule": "anneal", "warmup_steps": 5, "seed": 6, "mask_seen": False,
        "optimizer": "sgd", "negatives": NegativeOptions("uniform", 3),
    }  # fmt: skip
    assert {key: getattr(trainer, key) for key in expected} == expected
