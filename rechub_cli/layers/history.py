"""Histories as vectors, and their pooling. B rows, L length, D width, M distinct items.

A batch holds a history in one of two forms with equal results: ids [B, L] a column, or the M
distinct items of the batch, ids [M] a column, with ``history_index`` int64 [B, L] into them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rechub_cli.checks import check_known, check_whole
from rechub_cli.features import HISTORY_INDEX, DenseFeature, HistoryColumn, SequenceFeature
from rechub_cli.layers.embedding import (
    Batch,
    EmbeddingTables,
    ItemEncoder,
    lengths_of,
    read_values,
)
from rechub_cli.layers.past import PastItems

POOLINGS = ("mean", "recency")


def history_lengths(batch: Batch, history: Sequence[HistoryColumn]) -> Tensor:
    """int64 [B]."""
    return lengths_of(batch, history[0].feature)


def _lead(batch: Batch) -> tuple[int, ...]:
    """Axes of a history column before those of a value: [M] distinct items, or else [B, L]."""
    return (1,) if HISTORY_INDEX in batch else (2,)


class HistoryEncoder(nn.Module):
    """The past items as vectors, by the encoder that reads the candidates."""

    def __init__(self, encoder: ItemEncoder, history: Sequence[HistoryColumn]) -> None:
        super().__init__()
        self.encoder = encoder
        self.names = {c.item_feature.name: c.feature.name for c in history}

    def forward(self, batch: Batch) -> PastItems:
        return PastItems(self.encoder(batch, self.names, _lead(batch)), batch.get(HISTORY_INDEX))


class ColumnEncoder(nn.Module):
    """Each history column by its own table, concatenated: D is the sum of widths."""

    def __init__(self, tables: EmbeddingTables, history: Sequence[HistoryColumn]) -> None:
        super().__init__()
        self.tables = tables
        self.history = tuple(history)
        self.widths = [c.feature.embed_dim for c in history]

    def forward(self, batch: Batch) -> PastItems:
        parts = [self._one(batch, c) for c in self.history]
        return PastItems(torch.cat(parts, dim=-1), batch.get(HISTORY_INDEX))

    def _one(self, batch: Batch, column: HistoryColumn) -> Tensor:
        feature, item_feature = column.feature, column.item_feature
        assert not isinstance(item_feature, DenseFeature)
        ids = read_values(batch, item_feature, feature.name, lead=_lead(batch))
        if isinstance(item_feature, SequenceFeature):
            lengths = lengths_of(batch, item_feature, feature.name)
            return self.tables.pooled(item_feature, ids, lengths)
        return self.tables.lookup(item_feature, ids)


def recent_positions(lengths: Tensor, width: int, *, max_len: int) -> tuple[Tensor, Tensor]:
    """Where each of ``width`` right-padded places stands, counted from the end of its history.

    Returns the positions, int64 [B, width], 0 at the most recent item and at most
    ``max_len - 1``; and which places count, bool: real ones among the last ``max_len``, so that
    a longer history is served as it would have been trained.
    """
    steps = torch.arange(width, device=lengths.device)
    position = lengths.unsqueeze(-1) - 1 - steps
    counts = (position >= 0) & (position < max_len)
    return position.clamp(min=0, max=max_len - 1), counts


def last_items(past: PastItems, lengths: Tensor, *, max_len: int) -> tuple[PastItems, Tensor]:
    """The most recent items first, P of each, and which are real, bool [B, P].

    P is the width of ``past``, at most ``max_len``.
    """
    steps = torch.arange(past.width, device=lengths.device)[:max_len]
    place = lengths.unsqueeze(-1) - 1 - steps  # [B, P]
    return past.at(place.clamp(min=0)), place >= 0


def recent_window(past: PastItems, lengths: Tensor, *, max_len: int) -> tuple[PastItems, Tensor]:
    """The most recent items, oldest first, P of each, and how many are real, int64 [B].

    P is the width of ``past``, at most ``max_len``.
    """
    steps = torch.arange(past.width, device=lengths.device)[:max_len]
    first = (lengths - max_len).clamp(min=0).unsqueeze(-1)
    return past.at(first + steps), lengths.clamp(max=max_len)


class SequenceLayer(nn.Module, ABC):
    """Called with item vectors [B, L, D] and lengths int64 [B], gives [B, L, D].

    No position depends on a later one; those behind the length are undefined.
    """

    @abstractmethod
    def last(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """What the call gives at the last position, [B, 1, D]; of no history undefined."""


class HistoryPooling(nn.Module):
    """Pools past items to one vector a row, or two; an empty history gives zeros.

    kind: ``mean`` (Covington 2016, section 3.2) gives [B, D]. ``recency`` gives [B, 2 D]: the
        mean under weights softmax(r), r learned by the position counted from the end, beside
        the last item's vector. Not in the paper; it tells a set of items from an order.
    max_len: most recent items that count.
    """

    def __init__(self, dim: int, *, kind: str, max_len: int) -> None:
        super().__init__()
        check_known("pooling", kind, POOLINGS)
        check_whole(max_len=max_len)
        self.kind = kind
        self.vectors = 1 if kind == "mean" else 2
        self.max_len = max_len
        if kind == "recency":
            self.recency = nn.Parameter(torch.zeros(max_len))

    def forward(self, past: PastItems, lengths: Tensor) -> Tensor:
        position, mask = recent_positions(lengths, past.width, max_len=self.max_len)
        if self.kind == "mean":
            weights = mask.to(past.vectors.dtype)
            return past.weighted(weights / lengths.clamp(min=1, max=self.max_len).unsqueeze(-1))
        scores = self.recency[position]
        # Zeros for an empty row: softmax over nothing would be NaN.
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        weights = torch.softmax(scores, dim=-1) * mask
        last = (position == 0) & mask
        return torch.cat([past.weighted(weights), past.chosen(last)], dim=-1)
