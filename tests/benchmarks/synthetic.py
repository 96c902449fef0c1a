"""Made-up data sets of a given size, and the shipped config of a model on them."""

from __future__ import annotations

from functools import cache

import hydra
import numpy as np
import pyarrow as pa

from rechub_cli.config.locate import conf_dir
from rechub_cli.config.origin import Origin
from rechub_cli.config.resolve import resolve
from rechub_cli.config.schema import RunConfig
from rechub_cli.data.dataset import MatchData
from rechub_cli.data.feature_options import FeatureOptions
from rechub_cli.data.load import load_interactions
from rechub_cli.shell.diagnose import plain

SKEW = 0.8
"""Item n of the popularity order is drawn in proportion to n^-SKEW."""
WIDTH, BARE_EVENTS_A_USER = 64, 10
"""Of ``bare``'s vectors: ten million of the shipped width do not fit."""


def shipped(*overrides: str) -> RunConfig:
    """The config that `rechub train` composes, on one thread unless said otherwise."""
    words = ["trainer.threads=1", *overrides]
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        values = plain(hydra.compose("train", overrides=words))
    return resolve(RunConfig, values, origin=Origin(words))


def narrow(*overrides: str) -> RunConfig:
    """As shipped, but for vectors as wide as those of ``bare``."""
    return shipped(f"model.embed_dim={WIDTH}", *overrides)


def events(num_users: int, num_items: int, num_events: int, *, seed: int = 0) -> pa.Table:
    """Interactions of users of very different activity; every item has one at least."""
    rng = np.random.default_rng(seed)
    shares = rng.lognormal(sigma=0.8, size=num_users)
    users = rng.choice(num_users, size=num_events, p=shares / shares.sum())
    weights = np.arange(1, num_items + 1, dtype=np.float64) ** -SKEW
    bounds = np.cumsum(weights / weights.sum())
    items = np.searchsorted(bounds, rng.random(num_events)).clip(max=num_items - 1)
    items[rng.permutation(num_events)[:num_items]] = np.arange(num_items)
    times = np.sort(rng.integers(1_500_000_000, 1_700_000_000, size=num_events))
    return pa.table({"user_id": users, "item_id": items, "timestamp": times})


def item_table(num_items: int, *, seed: int = 0) -> pa.Table:
    """Side columns like a film catalogue's: a year, and one to three genres of 18."""
    rng = np.random.default_rng(seed)
    genres = [
        [f"g{g}" for g in rng.choice(18, size=size, replace=False)]
        for size in rng.integers(1, 4, size=num_items)
    ]
    years = [f"{year}" for year in rng.integers(1930, 2001, size=num_items)]
    return pa.table({"item_id": np.arange(num_items), "year": years, "genres": genres})


@cache
def films(
    *,
    max_len: int = 50,
    num_users: int = 2_000,
    num_items: int = 3_700,
    num_events: int = 300_000,
) -> MatchData:
    """A third of MovieLens 1M, by size and form, with vectors as wide as shipped."""
    return load_interactions(
        events(num_users, num_items, num_events),
        items=item_table(num_items),
        features=FeatureOptions(max_len=max_len),
        embed_dim=shipped().model.embed_dim,
    )


def bare(num_items: int) -> MatchData:
    """Ids alone. Users grow with items, so that histories are as long in a large catalogue."""
    num_events = max(200_000, num_items * 6 // 5)
    users = num_events // BARE_EVENTS_A_USER
    return load_interactions(events(users, num_items, num_events), embed_dim=WIDTH)
