"""What follows from the data or the model where the config leaves it open."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rechub_cli.data.dataset import MatchData, SplitOptions, prepare
from rechub_cli.data.feature_options import FeatureOptions
from rechub_cli.layers.dropout import Dropout
from rechub_cli.models.matching.sparsity import causal_dropouts, mlp_dropouts
from rechub_cli.runs import make_model
from tests.contract.conftest import tiny_raw
from tests.recipes.record import compose

ONE_LAYER = ("model.user_params.dims=[16]", "model.embed_dim=16")
"""Of the items' width, without a hidden layer."""


@pytest.mark.parametrize(
    ("events", "dropout", "least"),
    [
        (0.0, 0.5, 0.5),
        (13, 0.5, 0.5),
        (60, 0.5, 0.5),
        (75, 0.4, 0.4),
        (120, 0.25, 0.3),
        (300, 0.1, 0.3),
    ],
)
def test_the_more_events_an_item_has_the_less(events: float, dropout: float, least: float) -> None:
    assert mlp_dropouts(events) == {"input_dropout": dropout}
    found = causal_dropouts(events)
    assert found == {"dropout": least, "input_dropout": max(0.2, dropout)}


@pytest.mark.parametrize(
    ("name", "words", "sparse", "dropouts"),
    [
        ("sasrec", (), True, {0.5, 0.0}),
        ("sasrec", (), False, {30 / 84, 0.0}),
        ("sasrec", ("model.dropout=0.1",), True, {0.1, 0.0}),
        ("sasrec", ("model.attention_dropout=0.2",), True, {0.5, 0.2}),
        ("gru4rec", (), True, {0.5}),
        ("gru4rec", (), False, {30 / 84}),
        ("gru4rec", ("model.dropout=0.1",), True, {0.1, 0.5}),
        ("gru4rec", ("model.input_dropout=0",), True, {0.0, 0.5}),
        ("youtube_dnn", (*ONE_LAYER, "model.input_dropout=null"), True, {0.5}),
        ("mind", (*ONE_LAYER, "model.input_dropout=null"), False, {30 / 84}),
        ("comirec_dr", (*ONE_LAYER, "model.input_dropout=0"), True, {0.0}),
        (
            "dssm",
            ("model.input_dropout=null",),
            True,
            {0.5, 0.1, 0.0},
        ),  # of the user MLP's input, hidden layers, items
    ],
)
def test_the_model_s_dropouts(
    name: str, words: tuple[str, ...], sparse: bool, dropouts: set[float], tiny: MatchData
) -> None:
    """Of the data alone, of 84 events and 20 items, unless the config gives one."""
    assert tiny.events_per_item == 84 / 20
    data: Any = tiny
    if not sparse:
        data = replace(tiny)
        data.train_counts = tiny.train_counts * 20
    model = make_model(compose(f"ml_100k_{name}", *words), data)
    assert {m.p for m in model.modules() if isinstance(m, Dropout)} == dropouts


def test_density_is_of_the_events_of_trained_items() -> None:
    """Of 20 items of 1 to 8 training events, those of fewer than 4 have no row and do not count."""
    all_items, some = (
        prepare(
            tiny_raw(),
            split=SplitOptions(),
            features=FeatureOptions(min_count=least),
            embed_dim=16,
            seed=0,
        )
        for least in (1, 4)
    )
    counts = all_items.train_counts
    assert 0 < int((counts < 4).sum()) < 20
    assert some.events_per_item == float(counts[counts >= 4].double().mean())
