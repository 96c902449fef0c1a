"""The towers that the multi-interest models share; they differ in how interests are made.

B rows, L history length, K interests, D width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from rechub_cli.errors import RechubError
from rechub_cli.features import FeatureSchema
from rechub_cli.layers.embedding import Batch, ConcatEncoder, EmbeddingTables, ItemEncoder
from rechub_cli.layers.history import HistoryEncoder, history_lengths
from rechub_cli.layers.mlp import MLP, MLPParams
from rechub_cli.models.matching.base import (
    EncodedItemTower,
    MatchingModel,
    Normalised,
    UserParams,
    require_history,
    require_width,
)


class InterestUserTower(nn.Module):
    """Interests of the history, each with the user's features through one MLP: [B, K, D].

    interests: called with item vectors [B, L, D] and lengths [B], gives [B, K, D].
    """

    def __init__(
        self,
        encoder: ItemEncoder,
        tables: EmbeddingTables,
        schema: FeatureSchema,
        params: MLPParams,
        interests: nn.Module,
        *,
        similarity: str,
    ) -> None:
        super().__init__()
        self.history = HistoryEncoder(encoder, schema.history)
        self.columns = schema.history
        self.interests = interests
        self.profile = ConcatEncoder(tables, schema.profile) if schema.profile else None
        self.mlp = MLP(encoder.out_dim + (self.profile.out_dim if self.profile else 0), params)
        self.end = Normalised(similarity)

    def forward(self, batch: Batch) -> Tensor:
        lengths = history_lengths(batch, self.columns)
        interests = self.interests(self.history(batch), lengths)  # [B, K, D]
        if self.profile is not None:
            profile = self.profile(batch).unsqueeze(1).expand(-1, interests.shape[1], -1)
            interests = torch.cat([interests, profile], dim=-1)
        out: Tensor = self.end(self.mlp(interests))
        return out


def build_towers(
    model: MatchingModel,
    user_params: UserParams,
    *,
    interest_num: int,
    tied: bool,
    interests: Callable[[int], nn.Module],
) -> tuple[InterestUserTower, EncodedItemTower]:
    """The user and item tower of a multi-interest model.

    interest_num: K >= 1. tied: the history reads the candidates' table. interests: makes the
    layer from the width D of the item vectors.
    """
    if interest_num < 1:
        raise RechubError(f"interest_num={interest_num}; allowed: integers >= 1")
    require_history(model)
    schema = model.schema
    params = MLPParams.parse(user_params, name="user_params")
    tables = EmbeddingTables((*schema.user_features, *schema.item_features))
    encoder = ItemEncoder(tables, schema.item_features)
    require_width(params, encoder.out_dim, name="user_params")
    past = encoder
    if not tied:
        past = ItemEncoder(EmbeddingTables(schema.item_features), schema.item_features)
    layer = interests(encoder.out_dim)
    user_tower = InterestUserTower(past, tables, schema, params, layer, similarity=model.similarity)
    return user_tower, EncodedItemTower(encoder, model.similarity)
