"""Negatives, drawn afresh at every step by a seeded generator, vectorised.

Q rows of the batch, N negatives, P items of a pool, I items of the catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from rechub_cli.checks import check_known
from rechub_cli.data.batches import HistoryGather, TrainBatch
from rechub_cli.data.distinct import distinct, find
from rechub_cli.data.order import stable_order
from rechub_cli.data.splits import Split
from rechub_cli.errors import ConfigError
from rechub_cli.layers.rows import values_at
from rechub_cli.trainers.full_softmax import Excluded, spread_ranges
from rechub_cli.trainers.rules import SAMPLED

IN_BATCH_LIMIT = 4096
"""Of a batch with more targets, as of windows, in-batch negatives are a random part: their scores
take Q x N numbers."""


@dataclass(frozen=True)
class NegativeSampler:
    """Draws negatives of one kind.

    kind: uniform | popularity | in_batch | mixed (in-batch beside uniform) | hard (a pool, of
        which ``hardest`` keeps some). items: the catalogue rows to draw from. counts: training
        events of every row, int64 [I]. num_negatives: drawn a batch (shared) or a row. alpha:
        popularity draws ~ count^alpha. pool_size: of hard.
    """

    kind: str
    items: Tensor
    counts: Tensor
    num_negatives: int = 0
    alpha: float = 1.0
    pool_size: int = 0

    def __post_init__(self) -> None:
        check_known("sampler", self.kind, SAMPLED)
        if self.kind != "in_batch" and self.num_negatives < 1:
            raise ConfigError(
                f"sampler={self.kind} needs num_negatives >= 1, found {self.num_negatives}"
            )

    def draw(self, target: Tensor, generator: torch.Generator, *, shared: bool) -> list[Tensor]:
        """Catalogue rows int64, in parts: [N] shared by the batch or [Q, N] of each row.

        target: the batch's positives, int64 [Q]. in_batch and hard always share: [Q] and [P]; so
        does the first part of mixed, where its second is of each row.
        """
        if self.kind == "hard":
            return [self._pool(generator)]
        if self.kind == "in_batch":
            return [_in_batch(target, generator)]
        shape = (self.num_negatives,) if shared else (len(target), self.num_negatives)
        if self.kind == "popularity":
            return [_draw(self._cumulated, shape, generator)]
        drawn: Tensor = values_at(
            self.items, torch.randint(len(self.items), shape, generator=generator)
        )
        if self.kind == "uniform":
            return [drawn]
        batch = _in_batch(target, generator)
        return [torch.cat([batch, drawn])] if shared else [batch, drawn]

    def expected(self, rows: Tensor, *, batch_size: int) -> Tensor:
        """How often each of the catalogue rows is expected among one draw, float32, as rows.

        batch_size: the positives Q of the batch. Not for hard, whose choice has no such number.
        """
        assert self.kind != "hard"
        expected = torch.zeros(rows.shape)
        if self.kind in ("in_batch", "mixed"):
            expected += min(batch_size, IN_BATCH_LIMIT) * values_at(self._share, rows)
        if self.kind == "popularity":
            expected += self.num_negatives * values_at(self._drawn_share, rows)
        if self.kind in ("uniform", "mixed"):
            expected += self.num_negatives / len(self.items)
        return expected

    def _pool(self, generator: torch.Generator) -> Tensor:
        """Distinct items [P]; all of them where the pool is that large."""
        seed = int(torch.randint(2**62, (), generator=generator))
        size = min(self.pool_size, len(self.items))
        chosen = np.random.default_rng(seed).choice(len(self.items), size, replace=False)
        pool: Tensor = self.items[torch.from_numpy(chosen)]
        return pool

    @cached_property
    def _share(self) -> Tensor:
        """Probability of each catalogue row among training events, float32 [I]."""
        return self._power(1.0)

    @cached_property
    def _drawn_share(self) -> Tensor:
        return self._power(self.alpha)

    @cached_property
    def _cumulated(self) -> Tensor:
        return self._drawn_share.double().cumsum(0)

    def _power(self, alpha: float) -> Tensor:
        """Probability of each catalogue row, ~ count^alpha over the items to draw from."""
        weights = torch.zeros(len(self.counts), dtype=torch.float64)
        weights[self.items] = self.counts[self.items].double() ** alpha
        return (weights / weights.sum()).float()


def _in_batch(target: Tensor, generator: torch.Generator) -> Tensor:
    if len(target) <= IN_BATCH_LIMIT:
        return target
    return target[torch.randperm(len(target), generator=generator)[:IN_BATCH_LIMIT]]


def _draw(steps: Tensor, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Rows by inverse transform of their cumulated shares [I]."""
    at = torch.rand(shape, generator=generator, dtype=torch.float64) * steps[-1]
    found: Tensor = torch.searchsorted(steps, at, right=True).clamp(max=len(steps) - 1)
    return found


def hardest(negative: Tensor, excluded: Tensor, num_negatives: int) -> tuple[Tensor, Tensor]:
    """The highest-scoring negatives of each row, and which of them are excluded after all.

    negative: scores [Q, P]. excluded: bool [Q, P], taken only where a row has too few others.
    Gradient flows through the scores chosen, none through the choice.
    """
    order = negative.detach().masked_fill(excluded, -torch.inf)
    chosen = order.topk(min(num_negatives, order.shape[1]), dim=1).indices  # [Q, N]
    return negative.gather(1, chosen), excluded.gather(1, chosen)


class UserItems:
    """The items of a row's own user that are no candidates of the row, beside its target.

    exclude: seen (of the events before the target) | known (of all training events).

    A user's items stand once each, in the order of their first events: those before any event are
    the first ones, and a long history of few items is short.
    """

    def __init__(self, gather: HistoryGather, split: Split, *, exclude: str) -> None:
        self.num_items = gather.padding_row
        bounds = gather.known_start  # [U + 1]
        items = gather.items[: int(bounds[-1])]
        new = _firsts(torch.repeat_interleave(bounds.diff()) * gather.padding_row + items)
        self.items = items[new]
        self.before = torch.cat([new.new_zeros(1), new]).cumsum(0)[gather.known_before]  # [E + 1]
        self.first = self.before[gather.offsets[:-1]]
        stop = self.before[torch.from_numpy(split.train_end)]
        self.stop = stop if exclude == "known" else None

    def ranges(self, batch: TrainBatch) -> tuple[Tensor, Tensor]:
        """Start and stop in ``items`` of each row's own, int64 [Q]; its target may be there."""
        first = values_at(self.first, batch.user)
        if self.stop is None:
            return first, values_at(self.before, batch.event)
        return first, values_at(self.stop, batch.user)

    def among(self, batch: TrainBatch, rows: Tensor) -> Excluded:
        """Which of some catalogue rows, ascending [R], are each row's own; columns: of them."""
        start, stop = self.ranges(batch)
        user, of_row = torch.unique(batch.user, return_inverse=True)
        first = values_at(self.first, user)
        last = first.scatter_reduce(0, of_row, stop, "amax")
        # Looked up once a user, not once a row: each row takes what stands among its first ones.
        places, columns = [start[:0]], [start[:0]]
        for _, place in spread_ranges(first, last):
            column = find(rows, values_at(self.items, place), self.num_items)
            found = column >= 0
            places.append(place[found])
            columns.append(column[found])
        found_at = torch.cat(places)  # ascending, as users and their ranges are
        start, stop = (torch.searchsorted(found_at, end) for end in (start, stop))
        return Excluded(start, stop, torch.cat(columns))


def _firsts(pair: Tensor) -> Tensor:
    """Which of some numbers are the first of their value: bool, as given."""
    order = torch.from_numpy(stable_order(pair.numpy()))
    pair = pair[order]
    first = torch.ones(len(order), dtype=torch.bool)
    first[order[1:]] = pair[1:] != pair[:-1]
    return first


class KnownPairs:
    """Which (user, item) pairs are training events, by binary search."""

    def __init__(self, users: Tensor, items: Tensor, *, num_items: int) -> None:
        self.num_items = num_items
        self.keys = torch.unique(users * num_items + items)

    def contains(self, user: Tensor, rows: Tensor) -> Tensor:
        """user: int64 [Q]. rows: int64 [N] or [Q, N]. -> bool [Q, N]."""
        if rows.dim() == 2:
            return self._contain(user.unsqueeze(1) * self.num_items + rows)
        # Each pair of a user and an item is sought once: a batch of windows has few users.
        user, of_user = torch.unique(user, return_inverse=True)
        rows, of_item = distinct(rows, self.num_items)
        return self._contain(user.unsqueeze(1) * self.num_items + rows)[of_user][:, of_item]

    def _contain(self, keys: Tensor) -> Tensor:
        at = torch.searchsorted(self.keys, keys).clamp(max=len(self.keys) - 1)
        found: Tensor = values_at(self.keys, at) == keys
        return found
