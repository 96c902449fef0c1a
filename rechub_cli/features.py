"""Features: what a tower reads, declared once for YAML and for Python.

A feature's values reach a model in a batch, a dict of tensors keyed by the feature's name.
B rows, L history length, G values of a multi-valued column.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rechub_cli.errors import ConfigError
from rechub_cli.suggest import did_you_mean

POOLINGS = ("mean", "sum")
HISTORY_INDEX = "history_index"
OUTPUTS = {"user": "user_vector", "item": "item_vector"}
"""What an exported tower gives."""
OWN_NAMES = (HISTORY_INDEX, *OUTPUTS.values())
"""Names that batches and exported towers need themselves."""


@dataclass(frozen=True)
class SparseFeature:
    """One id a row, looked up in an embedding table.

    name: the batch's key; values int64 [B] in 0..vocab_size-1.
    vocab_size: rows of the table, > 0.
    embed_dim: width of a row, > 0.
    shared_with: the feature whose table is used; None: a table of its own name.
    padding_idx: the id that means "no value" (a zero vector, never trained); None: every id counts.
    """

    name: str
    vocab_size: int
    embed_dim: int = 16
    shared_with: str | None = None
    padding_idx: int | None = None

    def __post_init__(self) -> None:
        _check_table(self)

    @property
    def table(self) -> str:
        return self.shared_with or self.name


@dataclass(frozen=True)
class DenseFeature:
    """One number a row, taken as it is.

    name: the batch's key; values float [B].
    embed_dim: 1 feeds the number itself; more projects it linearly to that width.
    """

    name: str
    embed_dim: int = 1

    def __post_init__(self) -> None:
        _require(bool(self.name), "a feature needs a name")
        _require(self.embed_dim >= 1, f"{self.name}: embed_dim={self.embed_dim}; it must be >= 1")


@dataclass(frozen=True)
class SequenceFeature:
    """Several ids a row, right-padded: a history (oldest first) or a multi-valued column.

    name: the batch's key; values int64 [B, L], with their lengths int64 [B] under
        ``<name>_length`` (without it every id that is not ``padding_idx`` counts).
    pooling: mean or sum over the values, where the feature is pooled.
    shared_with: the feature whose table is used. A user feature shared with an item feature
        is the *history* of that item column.
    """

    name: str
    vocab_size: int
    embed_dim: int = 16
    pooling: str = "mean"
    shared_with: str | None = None
    padding_idx: int | None = None

    def __post_init__(self) -> None:
        _check_table(self)
        _require(
            self.pooling in POOLINGS,
            f"{self.name}: pooling={self.pooling!r}; allowed: mean, sum",
        )

    @property
    def table(self) -> str:
        return self.shared_with or self.name

    @property
    def length_key(self) -> str:
        return f"{self.name}_length"


Feature = SparseFeature | DenseFeature | SequenceFeature
TableFeature = SparseFeature | SequenceFeature
_KINDS: dict[str, type[Feature]] = {
    "sparse": SparseFeature,
    "dense": DenseFeature,
    "sequence": SequenceFeature,
}


@dataclass(frozen=True)
class HistoryColumn:
    """A user-side sequence that holds one item column of the user's past items."""

    feature: SequenceFeature
    item_feature: Feature
    """The item column; multi-valued where it is a SequenceFeature: ids [B, L, G]."""


class FeatureSchema:
    """The features of both towers, checked against each other.

    user_features, item_features: names must be unique over both; features that share a table
    name the one that has it, and must agree on vocab_size, embed_dim and padding_idx. No name may
    be the key under which the lengths of another feature come, nor one of OWN_NAMES.

    Raises ConfigError where they do not.
    """

    def __init__(self, user_features: Sequence[Feature], item_features: Sequence[Feature]) -> None:
        self.user_features = tuple(user_features)
        self.item_features = tuple(item_features)
        _check_features(self.user_features, "user_features")
        _check_features(self.item_features, "item_features")
        self.by_name = {f.name: f for f in (*self.user_features, *self.item_features)}
        if len(self.by_name) < len(self.user_features) + len(self.item_features):
            names = [f.name for f in (*self.user_features, *self.item_features)]
            twice = sorted({n for n in names if names.count(n) > 1})
            raise ConfigError(f"feature names must be unique over both towers; twice: {twice}")
        _check_keys(self.by_name)
        _check_shared(self.by_name)

    @property
    def history(self) -> tuple[HistoryColumn, ...]:
        """The history columns, that of the first item feature (the id) first."""
        order = {f.name: position for position, f in enumerate(self.item_features)}
        columns = [
            HistoryColumn(f, self.by_name[f.table])
            for f in self.user_features
            if isinstance(f, SequenceFeature) and f.shared_with in order
        ]
        return tuple(sorted(columns, key=lambda column: order[column.item_feature.name]))

    @property
    def profile(self) -> tuple[Feature, ...]:
        """The user features that are no history."""
        past = {column.feature.name for column in self.history}
        return tuple(f for f in self.user_features if f.name not in past)

    def to_json(self) -> dict[str, list[dict[str, Any]]]:
        """Plain data that ``from_json`` reads again."""
        kinds = {kind: name for name, kind in _KINDS.items()}
        return {
            side: [{"kind": kinds[type(f)], **asdict(f)} for f in features]
            for side, features in (("user", self.user_features), ("item", self.item_features))
        }

    @classmethod
    def from_json(cls, data: dict[str, list[dict[str, Any]]]) -> FeatureSchema:
        """Rebuild what ``to_json`` wrote."""
        sides = [
            [_KINDS[f["kind"]](**{k: v for k, v in f.items() if k != "kind"}) for f in data[side]]
            for side in ("user", "item")
        ]
        return cls(*sides)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


def _check_table(feature: TableFeature) -> None:
    name, size, padding = feature.name, feature.vocab_size, feature.padding_idx
    _require(bool(name), "a feature needs a name")
    _require(size >= 1, f"{name}: vocab_size={size}; it must be >= 1")
    _require(feature.embed_dim >= 1, f"{name}: embed_dim={feature.embed_dim}; it must be >= 1")
    _require(
        padding is None or 0 <= padding < size,
        f"{name}: padding_idx={padding}; allowed: None or 0..{size - 1}",
    )


def _check_features(features: Iterable[Feature], argument: str) -> None:
    for feature in features:
        _require(
            isinstance(feature, Feature),
            f"{argument} holds {feature!r}; allowed: SparseFeature, DenseFeature, SequenceFeature",
        )


def _check_keys(by_name: dict[str, Feature]) -> None:
    for feature in by_name.values():
        _require(
            feature.name not in OWN_NAMES,
            f"a feature is called {feature.name!r}, which is a name of ours; rename it",
        )
        if isinstance(feature, SequenceFeature) and feature.length_key in by_name:
            raise ConfigError(
                f"a feature is called {feature.length_key!r}, which is where the lengths of "
                f"{feature.name!r} come; rename one of them"
            )


def _check_shared(by_name: dict[str, Feature]) -> None:
    for feature in by_name.values():
        if isinstance(feature, DenseFeature) or feature.shared_with is None:
            continue
        owner = by_name.get(feature.shared_with)
        if owner is None or isinstance(owner, DenseFeature):
            tables = [n for n, f in by_name.items() if not isinstance(f, DenseFeature)]
            raise ConfigError(
                f"{feature.name}: shared_with={feature.shared_with!r} is no feature with a table; "
                f"there are {tables}.{did_you_mean(feature.shared_with, tables)}"
            )
        if owner.shared_with is not None:
            raise ConfigError(
                f"{feature.name}: shared_with={owner.name!r}, which reads the table of "
                f"{owner.table!r} itself: share with that one"
            )
        for key in ("vocab_size", "embed_dim", "padding_idx"):
            mine, theirs = getattr(feature, key), getattr(owner, key)
            _require(
                mine == theirs,
                f"{feature.name} shares the table of {owner.name}, but {key} is {mine} "
                f"there {theirs}: give both the same",
            )
