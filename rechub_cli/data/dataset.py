"""A data set ready for training and ranking: split, encoded, with its loaders."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rechub_cli.checks import check, check_known
from rechub_cli.data.batches import HistoryGather, TrainLoader
from rechub_cli.data.encode import Encoder
from rechub_cli.data.encoded import Encoded
from rechub_cli.data.feature_options import FeatureOptions
from rechub_cli.data.interactions import (
    Catalogue,
    Indexed,
    Interactions,
    Ints,
    UserTable,
    describe,
    index_raw,
)
from rechub_cli.data.known import any_known
from rechub_cli.data.names import ITEM_ID
from rechub_cli.data.raw import About, RawData
from rechub_cli.data.split_rules import METHODS, split_rules
from rechub_cli.data.splits import (
    Queries,
    Split,
    given_split,
    leave_one_out,
    time_split,
    user_split,
)
from rechub_cli.data.vocabulary import FIRST
from rechub_cli.data.windows import WindowLoader
from rechub_cli.errors import DataError

HELD_OUT = ("valid", "test")


@dataclass(frozen=True)
class SplitOptions:
    """method: leave_one_out, time, user or given; the others as in conf/data/table.yaml, but that
    time is a number in the unit of the data.

    Raises ConfigError on another method, and on what the method would ignore.
    """

    method: str = "leave_one_out"
    time: int | None = None
    valid_share: float | None = None
    test_share: float | None = None

    def __post_init__(self) -> None:
        check_known("method", self.method, METHODS)
        whole = self.time is None or isinstance(self.time, Integral)
        check(
            self,
            *split_rules(**vars(self)),
            (not whole, "time|is no whole number, in the unit of the data's timestamps"),
        )


@dataclass
class MatchData:
    """What a run trains on and ranks. I items of the catalogue."""

    about: About
    interactions: Interactions
    catalogue: Catalogue
    users: UserTable
    split: Split
    encoded: Encoded
    options: FeatureOptions

    @cached_property
    def gather(self) -> HistoryGather:
        return HistoryGather(self.interactions, self.encoded, max_len=self.options.max_len)

    @cached_property
    def train_counts(self) -> Tensor:
        """Training events of each catalogue row, int64 [I]."""
        events = training_events(self.interactions, self.split)
        return torch.bincount(
            torch.from_numpy(self.interactions.items[events].astype(np.int64)),
            minlength=len(self.catalogue),
        )

    @cached_property
    def trained_items(self) -> Tensor:
        """Catalogue rows with an embedding row of their own: the candidates of training."""
        return torch.nonzero(self.encoded.item[ITEM_ID][:-1] >= FIRST).flatten()

    @property
    def events_per_item(self) -> float:
        """Training events of a trained item, on average."""
        items = self.trained_items
        return int(self.train_counts[items].sum()) / max(len(items), 1)

    @cached_property
    def mean_history(self) -> float:
        """Known items before a training event, ``max_len`` of them at most, where there are any."""
        events = torch.from_numpy(training_events(self.interactions, self.split))
        length = self.gather.lengths(torch.from_numpy(self.interactions.users())[events], events)
        return int(length.sum()) / max(int((length > 0).sum()), 1)

    @cached_property
    def candidates(self) -> Tensor:
        """bool [I]: the items that may be ranked: trained ones, and those with a known feature."""
        encoded = self.encoded
        values = {name: tensor[:-1] for name, tensor in encoded.item.items()}
        features = encoded.schema.item_features
        return any_known(values, features, scaled=encoded.scales, rows=len(self.catalogue))

    def train_loader(self, *, batch_size: int, seed: int, min_history: int = 0) -> TrainLoader:
        """The training batches; see TrainLoader. min_history: known items before a target."""
        events = torch.from_numpy(training_events(self.interactions, self.split))
        known = self.encoded.item[ITEM_ID][:-1] >= FIRST
        targets = torch.from_numpy(self.interactions.items.astype(np.int64))[events]
        events = events[known[targets]]
        if min_history:
            user = torch.from_numpy(self.interactions.users())[events]
            events = events[self.gather.lengths(user, events) >= min_history]
        return TrainLoader(
            self.interactions,
            self.gather,
            events,
            batch_size=batch_size,
            oov_share=self.options.oov_share,
            seed=seed,
        )

    def window_loader(
        self, *, batch_size: int, seed: int, first_events: bool = False
    ) -> WindowLoader:
        """The training batches of causal models that read windows; see WindowLoader."""
        return WindowLoader(
            self.interactions,
            self.gather,
            self.split,
            batch_size=batch_size,
            oov_share=self.options.oov_share,
            seed=seed,
            first_events=first_events,
        )

    def queries(self, name: str) -> Queries:
        """Those of a split. name: valid or test; ConfigError for another."""
        check_known("split", name, HELD_OUT)
        return self.split.valid if name == "valid" else self.split.test

    def with_fewer_queries(self, most: int) -> MatchData:
        """The same data with at most so many queries a split, spread over all of them."""
        valid, test = self.split.valid.spread(most), self.split.test.spread(most)
        if valid is self.split.valid and test is self.split.test:
            return self
        # What is cached follows from no query. The largest are made now: the copy shares them.
        _ = self.gather, self.candidates
        fewer = copy.copy(self)
        fewer.split = replace(self.split, valid=valid, test=test)
        return fewer

    def unseen_targets(self, name: str) -> tuple[int, int]:
        """Target events of a split whose item has no training event, and all its target events."""
        queries = self.queries(name)
        unseen = self.train_counts.numpy()[self.interactions.items] == 0  # [N]
        before = np.concatenate([[0], np.cumsum(unseen)])
        found = before[queries.target_end] - before[queries.history_end]
        return int(found.sum()), int((queries.target_end - queries.history_end).sum())

    def report(self) -> dict[str, Any]:
        """Counts for ``rechub check``: sizes, time range, ties, repeats, cold share."""
        data, split = self.interactions, self.split
        out: dict[str, Any] = {**describe(data), **self.about.counts}
        out["train_events"] = int((split.train_end - data.offsets[:-1]).sum())
        out["valid_queries"], out["test_queries"] = len(split.valid), len(split.test)
        users = data.users()
        pairs = np.sort(users * data.num_items + data.items)  # np.unique hashes: 100 times slower
        out["repeated_events"] = int((np.diff(pairs) == 0).sum())
        if data.timestamps is not None:
            same = (np.diff(data.timestamps) == 0) & (np.diff(users) == 0)
            out["tied_timestamps"] = int(same.sum())
            last = data.offsets[1:][np.diff(data.offsets) >= 2] - 2
            out["users_with_tied_last"] = int(same[last].sum())
        for name in HELD_OUT:
            out[f"{name}_cold_targets"] = self.unseen_targets(name)[0]
        return out


def training_events(interactions: Interactions, split: Split) -> Ints:
    """The events that may be fitted on, int64, in CSR order."""
    starts = interactions.offsets[:-1]
    counts = split.train_end - starts
    before = starts - (counts.cumsum() - counts)  # events held out of the users before
    return np.repeat(before, counts) + np.arange(counts.sum())


def make_split(interactions: Interactions, options: SplitOptions, *, seed: int) -> Split:
    """Split by ``options.method``. seed: of the user permutation, where the method has one."""
    shares = {"valid_share": options.valid_share, "test_share": options.test_share}
    if options.method == "time":
        return time_split(interactions, time=options.time, **shares)
    if options.method == "user":
        return user_split(interactions, seed=seed, **shares)
    return given_split(interactions) if options.method == "given" else leave_one_out(interactions)


def prepare(
    source: RawData | Indexed,
    *,
    split: SplitOptions,
    features: FeatureOptions,
    embed_dim: int,
    seed: int,
) -> MatchData:
    """Index what a source handed over (unless it is), split and encode it."""
    tables = source if isinstance(source, Indexed) else index_raw(source)
    interactions, catalogue, users, about = tables
    parts = make_split(interactions, split, seed=seed)
    train = training_events(interactions, parts)
    if len(train) == 0:
        raise DataError(f"split.method={split.method} leaves no row for training")
    encoded = Encoder(features, embed_dim=embed_dim).encode(interactions, catalogue, users, train)
    return MatchData(about, interactions, catalogue, users, parts, encoded, features)
