"""Batches by vectorised gather from the CSR. B rows, L longest history in the batch, E events."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from rechub_cli.data.bucketing import bucketed
from rechub_cli.data.distinct import distinct
from rechub_cli.data.encoded import Encoded
from rechub_cli.data.interactions import Interactions
from rechub_cli.data.names import HISTORY, ITEM_ID
from rechub_cli.data.splits import Queries
from rechub_cli.data.vocabulary import FIRST, OOV
from rechub_cli.features import HISTORY_INDEX, SequenceFeature, SparseFeature
from rechub_cli.layers.embedding import length_mask
from rechub_cli.layers.rows import round_up, values_at

SHORT_WIDTH, SHORT_STEP, WIDTH_STEP, ITEM_STEP = 16, 2, 8, 256
"""Widths of batches are multiples of SHORT_STEP up to SHORT_WIDTH and of WIDTH_STEP beyond, item
counts of ITEM_STEP: the CPU's matrix kernels are made for each shape, and kept (about 0.6 MB each).
Of short histories much would be padding: on Amazon Beauty 0.6 places for each item by a step of 8,
0.2 by one of 2, and a step of GRU4Rec takes 0.81 of its time, of SASRec 0.87."""


@dataclass
class TrainBatch:
    """Q targets and the inputs of their queries.

    features: the user tower's inputs, B rows: one a target, or windows of several (see position).
    target: catalogue rows int64 [Q]. user: rows int64 [Q]. event: of the target, int64 [Q].
    weight: float32 [Q] or None.
    position: None, or int64 [Q]: where in the flattened windows [B * L] each target's query stands.
    """

    features: dict[str, Tensor]
    target: Tensor
    user: Tensor
    event: Tensor
    weight: Tensor | None = None
    position: Tensor | None = None

    def to(self, device: torch.device) -> TrainBatch:
        if device.type == "cpu":
            return self
        return TrainBatch(
            {name: t.to(device, non_blocking=True) for name, t in self.features.items()},
            self.target.to(device),
            self.user.to(device),
            self.event.to(device),
            None if self.weight is None else self.weight.to(device),
            None if self.position is None else self.position.to(device),
        )


class HistoryGather:
    """Makes the user tower's inputs for (user, position) pairs.

    max_len: most recent items that a history keeps. distinct: give the columns once an item
        (see layers.history); False gives them a position, as a served tower reads them.

    Items without an embedding row of their own are dropped from histories and the length
    shortened, through a CSR that lacks them: ``items`` and ``event``, one a known event, with a
    window's width of zeros behind the last of ``items``.
    """

    def __init__(
        self,
        interactions: Interactions,
        encoded: Encoded,
        *,
        max_len: int,
        distinct: bool = True,
    ) -> None:
        known = encoded.item[ITEM_ID][:-1].numpy() >= FIRST
        kept = known[interactions.items]
        behind = np.zeros(max(max_len, 1), dtype=np.int64)
        self.items = torch.from_numpy(np.concatenate([interactions.items[kept], behind]))
        self.event = torch.from_numpy(np.flatnonzero(kept))
        self.known_before = torch.from_numpy(np.concatenate([[0], np.cumsum(kept, dtype=np.int64)]))
        self.offsets = torch.from_numpy(interactions.offsets)
        self.known_start = self.known_before[self.offsets]
        self.encoded = encoded
        self.max_len = max_len
        self.distinct = distinct
        self.padding_row = interactions.num_items
        self.columns = [(c.feature.name, c.item_feature) for c in encoded.schema.history]

    def lengths(self, user: Tensor, end: Tensor) -> Tensor:
        """History lengths after cutting to ``max_len``, int64 [B]."""
        known = values_at(self.known_before, end) - values_at(self.known_start, user)
        return known.clamp(max=self.max_len)

    def __call__(self, user: Tensor, end: Tensor) -> dict[str, Tensor]:
        """user: rows int64 [B]. end: event index [B]; the history is what stands before it."""
        length = self.lengths(user, end)
        event = end.clamp(max=max(len(self.known_before) - 2, 0))
        return self.window(user, values_at(self.known_before, end) - length, length, event=event)

    def window(
        self, user: Tensor, first: Tensor, length: Tensor, *, event: Tensor | None
    ) -> dict[str, Tensor]:
        """``length`` known events from the ``first`` on, int64 [B] each, with user features.

        event: whose context is read, int64 [B], or [B, P]: then the features of the user are
        [B, P] too. None: no event has a context.
        """
        width = padded_width(length, max_len=self.max_len)
        rows = self.items.unfold(0, width, 1).index_select(0, first)  # [B, L], copied row by row
        rows.masked_fill_(~length_mask(length, width), self.padding_row)
        features: dict[str, Tensor] = {}
        if event is not None:
            features |= {name: values_at(t, event) for name, t in self.encoded.event.items()}
            user = user if event.dim() == 1 else user[:, None].expand_as(event)
        features |= {name: values_at(t, user) for name, t in self.encoded.user.items()}
        features[f"{HISTORY}_length"] = length
        if self.distinct:
            # Encode each item of the batch once, not once a position.
            rows, features[HISTORY_INDEX] = distinct(rows, self.padding_row + 1)
            extra = round_up(len(rows), ITEM_STEP) - len(rows)
            rows = nn.functional.pad(rows, (0, extra), value=self.padding_row)
        for name, item_feature in self.columns:
            features[name] = values_at(self.encoded.item[item_feature.name], rows)
            if isinstance(item_feature, SequenceFeature):
                features[f"{name}_length"] = values_at(
                    self.encoded.item[item_feature.length_key], rows
                )
        return features

    def hide_ids(
        self, features: dict[str, Tensor], share: float, generator: torch.Generator
    ) -> None:
        """Replace a share of the user's single ids by OOV, in place; see replace_by_oov."""
        for feature in self.encoded.schema.user_features:
            if isinstance(feature, SparseFeature):
                features[feature.name] = replace_by_oov(features[feature.name], share, generator)


class TrainLoader:
    """Training batches; a pure function of (seed, epoch), one sample per training event.

    events: int64, the events to predict (each from the history before it).
    batch_size: rows a batch. oov_share: share of user-side ids replaced by OOV, in 0..1.
    """

    def __init__(
        self,
        interactions: Interactions,
        gather: HistoryGather,
        events: Tensor,
        *,
        batch_size: int,
        oov_share: float,
        seed: int,
    ) -> None:
        self.gather = gather
        self.events = events
        self.batch_size = batch_size
        self.oov_share = oov_share
        self.seed = seed
        users = torch.from_numpy(interactions.users())
        self.user = users[events]
        self.target = torch.from_numpy(interactions.items.astype(np.int64))[events]
        weights = interactions.weights
        self.weight = None if weights is None else torch.from_numpy(weights)[events]
        self.length = gather.lengths(self.user, events)
        self.spread = False  # see bucketed

    def __len__(self) -> int:
        return math.ceil(len(self.events) / self.batch_size)

    @property
    def num_rows(self) -> int:
        return len(self.events)

    def epoch(self, epoch: int) -> Iterator[TrainBatch]:
        """The batches of one epoch, in shuffled order, each of histories of like length."""
        generator = epoch_generator(self.seed, epoch)
        for rows in bucketed(self.length, self.batch_size, generator, spread=self.spread):
            yield self._batch(rows, generator)

    def _batch(self, rows: Tensor, generator: torch.Generator) -> TrainBatch:
        event, user = values_at(self.events, rows), values_at(self.user, rows)
        features = self.gather(user, event)
        self.gather.hide_ids(features, self.oov_share, generator)
        weight = None if self.weight is None else values_at(self.weight, rows)
        return TrainBatch(features, values_at(self.target, rows), user, event, weight)


def padded_width(length: Tensor, *, max_len: int) -> int:
    """The longest history's width, in few distinct values (see SHORT_WIDTH)."""
    longest = max(int(length.max()) if length.numel() else 0, 1)
    step = SHORT_STEP if longest <= SHORT_WIDTH else WIDTH_STEP
    return min(round_up(longest, step), max(max_len, 1))


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    return torch.Generator().manual_seed(_mix(seed, epoch))


def replace_by_oov(ids: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Replace a share of known ids by OOV, so that the unknown id is a trained one.

    generator: on the CPU, whatever the device of the ids, so that all devices draw alike.
    """
    if share == 0.0:
        return ids
    chosen = (torch.rand(ids.shape, generator=generator) < share).to(ids.device)
    return torch.where(chosen & (ids >= FIRST), OOV, ids)


def query_batches(
    gather: HistoryGather, queries: Queries, *, max_rows: int, max_positions: int
) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """The queries of each batch, int64 [B], and the user tower's inputs; all queries once.

    Those of like length come together, so that little is padded: the longest first, at most
    ``max_rows`` of them and about ``max_positions`` positions of history, padding included.
    """
    user, end = torch.from_numpy(queries.user), torch.from_numpy(queries.history_end)
    length = gather.lengths(user, end)
    order = torch.argsort(length, descending=True, stable=True)
    first = 0
    while first < len(order):
        width = padded_width(length[order[first]], max_len=gather.max_len)
        rows = order[first : first + max(1, min(max_rows, max_positions // width))]
        yield rows, gather(user[rows], end[rows])
        first += len(rows)


def _mix(seed: int, epoch: int) -> int:
    """One 63-bit stream number from (seed, epoch); neighbours are unrelated."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> 1)
