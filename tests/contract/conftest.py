"""A tiny data set and every registered model on it. U users, I items."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import yaml

from rechub_cli.config.locate import conf_dir
from rechub_cli.data.dataset import MatchData, SplitOptions, prepare
from rechub_cli.data.feature_options import FeatureOptions
from rechub_cli.data.raw import RawData
from rechub_cli.models.matching.base import MatchingModel
from rechub_cli.registry import build_model, list_models

MAX_LEN = 8
NAMES = [entry.name for entry in list_models()]


def tiny_raw(*, users: int = 12, items: int = 20, events: int = 9, seed: int = 0) -> RawData:
    """Users walk in steps of one or two around a circle of items, each from a place of its own."""
    rng = np.random.default_rng(seed)
    start = rng.integers(0, items, users)
    walk = (start[:, None] + np.cumsum(rng.integers(1, 3, (users, events)), axis=1)) % items
    names = np.array([f"i{n:02d}" for n in range(items)])
    return RawData(
        pa.table(
            {
                "user": np.repeat(np.arange(users), events),
                "item": names[walk.ravel()],
                "timestamp": np.tile(np.arange(events), users),
            }
        ),
        items=pa.table(
            {
                "item": names,
                "genres": [[f"g{n % 3}", f"g{n % 5}"] for n in range(items)],
                "colour": [f"c{n % 4}" for n in range(items)],
                "price": [float(n % 7) for n in range(items)],
            }
        ),
        users=pa.table(
            {
                "user": np.arange(users),
                "age": [None if n % 5 == 0 else 20.0 + n for n in range(users)],
                "city": [f"t{n % 3}" for n in range(users)],
            }
        ),
    )


@pytest.fixture(scope="session")
def tiny() -> MatchData:
    return prepare(
        tiny_raw(),
        split=SplitOptions(),
        features=FeatureOptions(max_len=MAX_LEN, oov_share=0.1),
        embed_dim=16,
        seed=0,
    )


def shipped_yaml(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((conf_dir() / "model" / f"{name}.yaml").read_text())
    return content


def shipped_params(name: str) -> dict[str, Any]:
    """The model's YAML file, its widths cut to the tiny data and its dropout off."""
    params = {k: v for k, v in shipped_yaml(name).items() if k not in ("name", "embed_dim")}
    params |= {key: 0.0 for key in params if key.endswith("dropout")}
    params |= {key: 32 for key in ("hidden_dim",) if key in params}
    for key in ("user_params", "item_params"):
        if key in params:
            params[key] |= {"dims": [32, 16], "dropout": 0.0}
    return params


FORMS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in NAMES),
    ("comirec_dr", {"maps": "position"}),
    ("gru4rec", {"residual": False, "tied": False}),
    ("sasrec", {"positions": "end", "tied": False}),
    ("comirec_sa", {"selection": "target", "tied": False}),
    ("mind", {"selection": "mixed", "label_attention": 1.0}),
]
"""Every model as shipped, and other forms of some."""


def make_model(
    name: str, data: MatchData, *, seed: int = 0, max_len: int = MAX_LEN, **changes: Any
) -> MatchingModel:
    torch.manual_seed(seed)
    params = {**shipped_params(name), **changes}
    return build_model(name, data.encoded.schema, max_len=max_len, params=params)


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=FORMS, ids=str)
def form(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    found: tuple[str, dict[str, Any]] = request.param
    return found


@pytest.fixture
def model(form: tuple[str, dict[str, Any]], tiny: MatchData) -> MatchingModel:
    name, changes = form
    return make_model(name, tiny, **changes)
