"""Questions about a run's last batch that leave the run as it was.

Q rows of the batch, C candidates, D width, K interests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from rechub_cli.data.batches import HistoryGather, TrainBatch
from rechub_cli.features import SequenceFeature
from rechub_cli.models.matching.base import MatchingModel
from rechub_cli.trainers.objectives import Objective, user_vectors
from rechub_cli.trainers.row_objective import RowObjective
from rechub_cli.trainers.towers import Towers

MAX_QUERIES, MAX_CANDIDATES = 128, 1024
"""So many scores are looked at, at most, spread evenly over what there is."""


class Probe(Protocol):
    """rows: Q of the last batch."""

    @property
    def rows(self) -> int: ...

    def mismatched_loss(self) -> Tensor:
        """The batch's loss with every target given to the user of another row.

        But for what its user, or the other's, had before, where that is known: users come back
        to items, and a user tower may start near those of the history.
        """

    def scores(self) -> Tensor:
        """Serving scores [at most MAX_QUERIES, at most MAX_CANDIDATES] of the batch's users."""


@dataclass
class CatalogueProbe:
    """candidates: the item tower's inputs of catalogue rows; batch: set by the loop."""

    model: MatchingModel
    objective: Objective
    gather: HistoryGather
    candidates: Mapping[str, Tensor]
    device: torch.device
    batch: TrainBatch | None = None

    @property
    def rows(self) -> int:
        return 0 if self.batch is None else len(self.batch.target)

    def mismatched_loss(self) -> Tensor:
        assert self.batch is not None
        target, other = self.batch.target, self.batch.target.roll(self.rows // 2)
        before = [had_before(self.gather, self.batch, item) for item in (target, other)]
        target = torch.where(before[0] | before[1], target, other)
        return self.objective(replace(self.batch, target=target), torch.Generator().manual_seed(0))

    def scores(self) -> Tensor:
        assert self.batch is not None
        users = user_vectors(Towers(self.model), self.batch.to(self.device))
        users = users[spread(len(users), MAX_QUERIES)]
        return self.model.scores(users, self.model.item_tower(self.candidates))


@dataclass
class RowProbe:
    """features, label: a batch of a user's DataLoader, set by the loop."""

    objective: RowObjective
    features: Mapping[str, Tensor] | None = None
    label: Tensor | None = None

    @property
    def rows(self) -> int:
        return 0 if self.label is None else len(self.label)

    def mismatched_loss(self) -> Tensor:
        assert self.features is not None and self.label is not None
        items = {
            name
            for f in self.objective.towers.model.schema.item_features
            for name in ((f.name, f.length_key) if isinstance(f, SequenceFeature) else (f.name,))
        }
        by = self.rows // 2
        features = {n: t.roll(by, 0) if n in items else t for n, t in self.features.items()}
        return self.objective(features, self.label.roll(by))

    def scores(self) -> Tensor:
        assert self.features is not None
        model, features = self.objective.towers.model, self.features
        users = model.user_tower(features)
        items = model.item_tower(features)[spread(self.rows, MAX_CANDIDATES)]
        return model.scores(users[spread(self.rows, MAX_QUERIES)], items)


def had_before(gather: HistoryGather, batch: TrainBatch, item: Tensor) -> Tensor:
    """Whether each row's user had an item before the row's event; item: catalogue rows [Q]."""
    start = gather.known_start[batch.user].tolist()
    stop, items = gather.known_before[batch.event].tolist(), gather.items.numpy()
    rows = zip(start, stop, item.tolist(), strict=True)
    return torch.tensor([bool((items[a:b] == wanted).any()) for a, b, wanted in rows])


def spread(size: int, most: int) -> Tensor:
    """At most ``most`` indices of 0..size-1, evenly apart, int64."""
    return torch.arange(min(size, most)) * size // min(size, most)


@contextmanager
def undisturbed(model: MatchingModel) -> Iterator[None]:
    """No gradient inside; random state and buffers (a batch norm's) are as before behind it."""
    buffers = [buffer.clone() for buffer in model.buffers()]
    device = next(model.parameters()).device
    with torch.no_grad(), torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield
        for buffer, before in zip(model.buffers(), buffers, strict=True):
            buffer.copy_(before)
