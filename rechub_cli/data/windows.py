"""Training windows of causal models. W windows, L longest window, B windows a batch, Q targets."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from rechub_cli.data.batches import (
    HistoryGather,
    TrainBatch,
    epoch_generator,
    padded_width,
)
from rechub_cli.data.bucketing import bucketed
from rechub_cli.data.interactions import Interactions
from rechub_cli.data.splits import Split
from rechub_cli.layers.rows import values_at


class WindowLoader:
    """Batches of windows over the *whole* training history; a pure function of (seed, epoch).

    Every training event but a user's first is predicted once an epoch. A history of more than
    ``max_len`` positions is cut into as few windows as hold it, at places that differ by epoch.

    batch_size: windows a batch. oov_share: share of user-side ids replaced by OOV, in 0..1.
    first_events: predict a user's first event too, from no history: a window has a place before its
        first item, L + 1 in all, and the context of an event, where there is one, has as many.
    """

    def __init__(
        self,
        interactions: Interactions,
        gather: HistoryGather,
        split: Split,
        *,
        batch_size: int,
        oov_share: float,
        seed: int,
        first_events: bool = False,
    ) -> None:
        self.gather = gather
        self.first_events = first_events
        self.batch_size = batch_size
        self.oov_share = oov_share
        self.seed = seed
        self.spread = False  # see bucketed
        known = gather.known_before
        self.first = gather.known_start[:-1]  # [U], among the known events
        stop = known[torch.from_numpy(split.train_end)]
        events = stop - self.first
        self.count = (events - 1).clamp(min=0)  # of positions with an item, [U]
        self.num_windows = (self.count + gather.max_len - 1) // gather.max_len
        if first_events:
            self.num_windows = torch.maximum(self.num_windows, events.clamp(max=1))
        self.num_rows = int((events if first_events else self.count).sum())
        weights = interactions.weights
        self.weight = None if weights is None else torch.from_numpy(weights)

    def __len__(self) -> int:
        return math.ceil(int(self.num_windows.sum()) / self.batch_size)

    def epoch(self, epoch: int) -> Iterator[TrainBatch]:
        """The batches of one epoch, in shuffled order, each of windows of like length."""
        generator = epoch_generator(self.seed, epoch)
        user, start, length = self._windows(generator)
        for rows in bucketed(length, self.batch_size, generator, spread=self.spread):
            yield self._batch(user[rows], start[rows], length[rows], generator)

    def _windows(self, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """User, first known event and number of positions of every window, int64 [W] each."""
        size, windows = self.gather.max_len, self.num_windows
        slack = torch.where(windows > 1, windows * size - self.count, 0)
        shift = (torch.rand(len(windows), generator=generator) * (slack + 1)).long()
        user = torch.repeat_interleave(torch.arange(len(windows)), windows)
        number = torch.arange(len(user)) - (windows.cumsum(0) - windows)[user]
        start = (number * size - shift[user]).clamp(min=0)
        end = torch.minimum((number + 1) * size - shift[user], self.count[user])
        return user, self.first[user] + start, end - start

    def _batch(
        self, user: Tensor, first: Tensor, length: Tensor, generator: torch.Generator
    ) -> TrainBatch:
        width = padded_width(length, max_len=self.gather.max_len)
        steps = torch.arange(0 if self.first_events else 1, 1 + width)  # items before the target
        place = first[:, None] + steps  # of the targets, among the known events
        real = steps <= length[:, None]
        if self.first_events:
            real[:, 0] = first == self.first[user]
        event = values_at(self.gather.event, place.clamp(max=len(self.gather.event) - 1))
        features = self.gather.window(
            user, first, length, event=event if self.gather.encoded.event else None
        )
        self.gather.hide_ids(features, self.oov_share, generator)
        return TrainBatch(
            features,
            values_at(self.gather.items, place[real]),
            user[:, None].expand_as(place)[real],
            event[real],
            None if self.weight is None else values_at(self.weight, event[real]),
            torch.nonzero(real.flatten()).flatten(),
        )
