"""What the causal models share: they differ in the layer that reads the sequence.

B rows, L history length, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from rechub_cli.checks import check_whole
from rechub_cli.errors import ConfigError
from rechub_cli.features import Feature, FeatureSchema
from rechub_cli.layers.embedding import Batch, ConcatEncoder, EmbeddingTables, ItemEncoder
from rechub_cli.layers.history import (
    HistoryEncoder,
    SequenceLayer,
    history_lengths,
    recent_window,
)
from rechub_cli.layers.past import PastItems
from rechub_cli.models.matching.base import (
    EncodedItemTower,
    MatchingModel,
    Normalised,
    past_encoder,
    require_history,
)


class CausalUserTower(nn.Module):
    """The sequence layer's vector at the last item, plus a linear map of the user's features.

    An empty history leaves the features alone: [B, D].
    """

    def __init__(
        self,
        encoder: ItemEncoder,
        tables: EmbeddingTables,
        schema: FeatureSchema,
        sequence: SequenceLayer,
        *,
        similarity: str,
        max_len: int,
    ) -> None:
        super().__init__()
        self.history = HistoryEncoder(encoder, schema.history)
        self.columns = schema.history
        self.sequence = sequence
        self.max_len = max_len
        self.profile = ConcatEncoder(tables, schema.profile) if schema.profile else None
        if self.profile is not None:
            self.project = nn.Linear(sum(self.profile.widths), encoder.out_dim, bias=False)
            nn.init.xavier_uniform_(self.project.weight)
        self.end = Normalised(similarity)

    def forward(self, batch: Batch) -> Tensor:
        vectors, lengths = self._window(self.history(batch), batch)
        found = self.sequence.last(vectors, lengths) * (lengths > 0).view(-1, 1, 1)
        return self._end(found, batch).squeeze(1)

    def positions(self, batch: Batch) -> Tensor:
        """One vector a position, [B, L, D]; where users have features [B, 1 + L, D], the first that
        of no history, and features are [B], or [B, 1 + L] one a position.

        Raises ConfigError where L is more than ``max_len``.
        """
        past = self.history(batch)
        if past.width > self.max_len:
            raise ConfigError(
                f"training windows of {past.width} places, and the model reads max_len="
                f"{self.max_len}: make the model with max_len={past.width}, or the windows shorter"
            )
        hidden = self.sequence(*self._window(past, batch))
        if self.profile is not None:
            hidden = nn.functional.pad(hidden, (0, 0, 1, 0))
        return self._end(hidden, batch, lead=(1, 2))

    def _window(self, past: PastItems, batch: Batch) -> tuple[Tensor, Tensor]:
        past, lengths = recent_window(
            past, history_lengths(batch, self.columns), max_len=self.max_len
        )
        return past.expand(), lengths

    def _end(self, hidden: Tensor, batch: Batch, lead: tuple[int, ...] = (1,)) -> Tensor:
        if self.profile is not None:
            profile = self.project(self.profile(batch, lead))
            hidden = hidden + (profile.unsqueeze(1) if profile.dim() == 2 else profile)
        out: Tensor = self.end(hidden)
        return out


class CausalModel(MatchingModel):
    """A model that reads a history in order and has a vector at every position of it.

    The vector at a position predicts the item that follows it, and the user's vector is the one at
    the last position. So windows of a history train it at every position at once (see
    trainers.loading). sequence: makes the layer from the width D.
    """

    user_tower: CausalUserTower

    def __init__(
        self,
        user_features: Sequence[Feature],
        item_features: Sequence[Feature],
        *,
        temperature: float,
        similarity: str,
        tied: bool,
        max_len: int,
        sequence: Callable[[int], SequenceLayer],
    ) -> None:
        super().__init__(
            user_features, item_features, temperature=temperature, similarity=similarity
        )
        require_history(self)
        check_whole(max_len=max_len)
        tables = EmbeddingTables((*user_features, *item_features))
        encoder = ItemEncoder(tables, item_features)
        past = past_encoder(encoder, item_features, tied=tied)
        self.user_tower = CausalUserTower(
            past,
            tables,
            self.schema,
            sequence(encoder.out_dim),
            similarity=similarity,
            max_len=max_len,
        )
        self.item_tower = EncodedItemTower(encoder, similarity)

    @property
    def max_len(self) -> int:
        """The most recent items that it reads, and the longest training window."""
        return self.user_tower.max_len

    def position_vectors(self, batch: Batch) -> Tensor:
        """The vectors of a window's positions, [B, L, D], or [B, 1 + L, D] where it reads_users:
        that of no history first. Behind the window's end they are undefined."""
        return self.user_tower.positions(batch)
