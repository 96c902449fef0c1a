"""Dropout that follows from the data where the config leaves it open."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rechub_cli.data.dataset import MatchData
from rechub_cli.layers.dropout import Dropout
from rechub_cli.models.matching.causal import SPARSE, default_dropout
from rechub_cli.runs import make_model
from tests.recipes.record import compose


def test_sparse_data_have_more() -> None:
    assert default_dropout(SPARSE - 0.1) > default_dropout(SPARSE)


@pytest.mark.parametrize("name", ["sasrec", "gru4rec"])
@pytest.mark.parametrize(
    ("words", "sparse", "dropout"),
    [((), True, 0.5), ((), False, 0.3), (("model.dropout=0.1",), True, 0.1)],
)
def test_the_model_s_dropout(
    name: str, words: tuple[str, ...], sparse: bool, dropout: float, tiny: MatchData
) -> None:
    """Of the data alone, of 84 events and 20 items, unless the config gives one."""
    assert tiny.events_per_item == 84 / 20
    data: Any = tiny
    if not sparse:
        data = replace(tiny)
        data.train_counts = tiny.train_counts * 10
    model = make_model(compose(f"ml_100k_{name}", *words), data)
    assert {m.p for m in model.modules() if isinstance(m, Dropout)} >= {dropout}
    assert {m.p for m in model.modules() if isinstance(m, Dropout)} <= {dropout, 0.2}
