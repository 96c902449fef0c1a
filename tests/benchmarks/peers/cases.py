"""Which models are compared with which library, in what sizes. Nothing runs here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NEGATIVES, MAX_LEN, WIDTH = 3, 50, 16
HEAD = (f"dims=[{WIDTH}]", "residual=false")
# Theirs norms each layer.
TOWER = (f"dims=[128,64,{WIDTH}]", "dropout=0", "norm=batch", "residual=false")
MEAN = "model.pooling=mean"
NAMES = {
    "torch_rechub": "torch-rechub 0.9.0",
    "recbole": "RecBole 1.2.1",
    "rectools": "RecTools 0.19.0",
    "implicit": "implicit 0.7.3",
}


@dataclass(frozen=True)
class Speed:
    """The same training work on both sides.

    batch: a step's positives, or windows of SASRec, of ours and of theirs. windows: a step of ours,
    where the peer reads a row a target and our causal model windows of as many targets. scored:
    pairs that a positive makes. words: overrides that give our model the peer's layers. options:
    of the peer. target: of the ratio of seconds.
    """

    peer: str
    model: str
    batch: int
    target: float
    words: tuple[str, ...]
    mode: str = "pairwise"
    scored: int = 1 + NEGATIVES
    windows: int | None = None
    theirs: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.peer}/{self.model}"

    @property
    def unit(self) -> str:
        return "pairs" if self.scored > 1 else "positions"

    @property
    def overrides(self) -> list[str]:
        """Our side's config, with ids as the only features."""
        negatives = "null" if self.mode == "listwise" else f"{self.scored - 1}"
        return [
            f"model={self.model}",
            f"trainer={self.mode}",
            "features.user_id=true",
            f"features.max_len={MAX_LEN}",
            "features.exclude=[age,gender,occupation,zip_code,release_year,genres]",
            f"trainer.batch_size={self.windows or self.batch}",
            f"trainer.negatives.num_negatives={negatives}",
            *self.words,
        ]


def _ancestor(
    model: str,
    batch: int,
    target: float,
    *words: str,
    **others: Any,
) -> Speed:
    """torch-rechub's examples: width 16, 3 negatives a row."""
    options = {"width": WIDTH, "lr": 1e-3, "padding": False}
    words = (f"model.embed_dim={WIDTH}", *words)
    return Speed("torch_rechub", model, batch, target, words, options=options, **others)


def _mlp(side: str, params: tuple[str, ...]) -> list[str]:
    whole = ["model.input_dropout=0"] if side == "user" else []
    return [*whole, *(f"model.{side}_params.{param}" for param in params)]


WINDOWS = ("trainer.samples=windows", "features.user_id=false")
FULL = ("trainer.negatives.exclude=none", "model.embed_dim=64")
DOT = ("model.similarity=dot", "model.temperature=1")
RECURRENT = (*DOT, "model.residual=false")


def _transformer(heads: int, hidden_dim: int, dropout: float) -> tuple[str, ...]:
    """The peers drop attention weights as they drop the rest."""
    return (
        "model.num_blocks=2",
        "model.positions=end",
        f"model.num_heads={heads}",
        f"model.hidden_dim={hidden_dim}",
        f"model.dropout={dropout}",
        f"model.attention_dropout={dropout}",
        *DOT,
        *WINDOWS,
    )


SPEEDS = (
    _ancestor(
        "comirec_dr", 256, 1 / 15, "model.maps=position", "model.agreement=dot", *_mlp("user", HEAD)
    ),
    _ancestor("comirec_sa", 256, 1 / 6, *_mlp("user", HEAD), f"model.hidden_dim={4 * WIDTH}"),
    _ancestor(
        "dssm", 1024, 1 / 6, MEAN, *_mlp("user", TOWER), *_mlp("item", TOWER), mode="pointwise"
    ),
    _ancestor(
        "gru4rec",
        256,
        1 / 15,
        f"model.hidden_dim={WIDTH}",
        "model.num_layers=2",
        *RECURRENT,
        "trainer.samples=windows",
        windows=8,
    ),
    _ancestor(
        "mind", 256, 1 / 6, "model.recency=false", "model.agreement=dot", *_mlp("user", HEAD)
    ),
    _ancestor("youtube_dnn", 2048, 1 / 6, MEAN, *_mlp("user", TOWER)),
    _ancestor("sasrec", 128, 1 / 3, *_transformer(1, WIDTH, 0.5), mode="pointwise", scored=2),
    Speed(
        "recbole",
        "sasrec",
        256,
        1,
        (*_transformer(2, 256, 0.5), *FULL),
        mode="listwise",
        scored=1,
        windows=6,
        theirs="SASRec",
        options={"hidden_size": 64, "inner_size": 256},
    ),
    Speed(
        "recbole",
        "gru4rec",
        256,
        1,
        ("model.hidden_dim=128", "model.num_layers=1", *RECURRENT, *WINDOWS, *FULL),
        mode="listwise",
        scored=1,
        windows=6,
        theirs="GRU4Rec",
        options={"embedding_size": 64, "hidden_size": 128},
    ),
    Speed(
        "rectools",
        "sasrec",
        128,
        1,
        (*_transformer(2, 64, 0.2), *FULL),
        mode="listwise",
        scored=1,
        theirs="SASRec",
        options={"n_factors": 64, "n_heads": 2, "n_blocks": 2, "dropout_rate": 0.2},
    ),
)


@dataclass(frozen=True)
class Quality:
    """Whole runs: each side at its best known settings, ours a recipe as shipped.

    options: of the peer. negatives: that it scores beside a positive; None: the whole catalogue.
    target: of the ratio of seconds to the peer's quality, pair_target: of seconds a scored pair;
    None where none is set. recorded: the peer's test NDCG@10 as known before, told beside its own.
    """

    peer: str
    model: str
    theirs: str
    options: Mapping[str, Any]
    negatives: int | None = None
    target: float | None = None
    pair_target: float | None = None
    recorded: float | None = None

    @property
    def recipe(self) -> str:
        return f"ml_100k_{self.model}"

    @property
    def names(self) -> tuple[str, str]:
        """Of its two rows: seconds to the peer's quality, and pairs a second."""
        whole = f"{self.peer}/{self.model}"
        return f"{whole} to its quality", f"{whole} whole runs"


BEST = {"width": 64, "lr": 1e-3, "padding": True, "batch_size": 256}


def _best_ancestor(
    model: str, recorded: float | None = None, *, epochs: int = 20, negatives: int = 20
) -> Quality:
    """torch-rechub at its best known settings."""
    pair_target = next(s.target for s in SPEEDS if s.name == f"torch_rechub/{model}")
    options = {**BEST, "epochs": epochs}
    return Quality("torch_rechub", model, model, options, negatives, 1 / 20, pair_target, recorded)


QUALITIES = (
    _best_ancestor("youtube_dnn", 0.0454),
    _best_ancestor("mind", 0.0192),
    _best_ancestor("comirec_sa", 0.0179),
    _best_ancestor("gru4rec", epochs=5),
    _best_ancestor("dssm", 0.0234, negatives=3),
    _best_ancestor("comirec_dr", epochs=3),
    Quality("recbole", "gru4rec", "GRU4Rec", {"train_batch_size": 2048, "epochs": 4}),
    Quality(
        "rectools",
        "sasrec",
        "SASRec",
        {"batch_size": 128, "session_max_len": 200, "epochs": 60, "n_factors": 128, "n_heads": 2},
    ),
)


@dataclass(frozen=True)
class Ranking:
    """Lists of the whole catalogue's best for some users; see ranking.py."""

    peer: str
    num_items: int
    users: int
    top: int
    width: int = 64

    @property
    def name(self) -> str:
        return f"{self.peer}/{self.model} of {self.num_items:,} items"

    @property
    def model(self) -> str:
        return "ranking"


RANKINGS = (
    Ranking("implicit", num_items=100_000, users=1_000, top=50),
    Ranking("implicit", num_items=1_000_000, users=100, top=50),
)
