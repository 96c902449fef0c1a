"""A world with a known answer: a user takes the items of its own colour, and one is withheld."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from rechub_cli.data.dataset import MatchData, SplitOptions, prepare
from rechub_cli.data.feature_options import FeatureOptions
from rechub_cli.data.raw import RawData
from rechub_cli.trainers.match_trainer import MatchTrainer
from tests.contract.conftest import make_model

SIZE = 20


def checkerboard() -> MatchData:
    """User u takes every item i with u + i even, in random order; item u, the diagonal, last."""
    rng = np.random.default_rng(0)
    users, items = [], []
    for user in range(40 * SIZE):
        diagonal = user % SIZE
        own = [i for i in range(SIZE) if (i + user) % 2 == 0 and i != diagonal]
        users += [user] * (len(own) + 1)
        items += [*rng.permutation(own).tolist(), diagonal]
    return prepare(
        RawData(pa.table({"user": users, "item": items})),
        split=SplitOptions(),
        features=FeatureOptions(max_len=8, oov_share=0.0),
        embed_dim=16,
        seed=0,
    )


def test_the_withheld_diagonal_ranks_first(name: str) -> None:
    data = checkerboard()
    model = make_model(name, data)
    trainer = MatchTrainer(
        model, "listwise", {"lr": 0.01}, 10, batch_size=128, monitor="ndcg@3", top_k=(1, 3)
    )
    trainer.fit(data)
    # All other items of the user's colour are seen: one candidate fits.
    assert trainer.evaluate(data)["hr@1"] >= 0.95
