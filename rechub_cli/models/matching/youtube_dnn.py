"""YoutubeDNN: user MLP over pooled history, item embedding table (Covington 2016, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from rechub_cli.features import Feature, FeatureSchema
from rechub_cli.layers.embedding import Batch, ConcatEncoder, EmbeddingTables, ItemEncoder
from rechub_cli.layers.history import HistoryEncoder, HistoryPooling, history_lengths
from rechub_cli.layers.mlp import MLP, MLPParams
from rechub_cli.models.matching.base import (
    EncodedItemTower,
    MatchingModel,
    Normalised,
    UserParams,
    past_encoder,
    require_history,
    require_width,
)


class YoutubeUserTower(nn.Module):
    """MLP over the pooled history and the user's features: [B, D]."""

    def __init__(
        self,
        encoder: ItemEncoder,
        tables: EmbeddingTables,
        schema: FeatureSchema,
        params: MLPParams,
        *,
        similarity: str,
        pooling: str,
        input_dropout: float,
        max_len: int,
    ) -> None:
        super().__init__()
        self.history = HistoryEncoder(encoder, schema.history)
        self.columns = schema.history
        self.pooling = HistoryPooling(encoder.out_dim, kind=pooling, max_len=max_len)
        self.profile = ConcatEncoder(tables, schema.profile) if schema.profile else None
        past = [encoder.out_dim] * self.pooling.vectors
        widths = past + (self.profile.widths if self.profile else [])
        self.mlp = MLP(widths, params, input_dropout=input_dropout)
        self.end = Normalised(similarity)

    def forward(self, batch: Batch) -> Tensor:
        lengths = history_lengths(batch, self.columns)
        parts = [self.pooling(self.history(batch), lengths)]
        if self.profile is not None:
            parts.append(self.profile(batch))
        out: Tensor = self.end(self.mlp(torch.cat(parts, dim=-1)))
        return out


class YoutubeDNN(MatchingModel):
    """u = MLP(pooled history, user features); v = the item's embedding (plus its side features').

    user_features: must hold the history, a SequenceFeature shared with the first item feature.
    item_features: the id first; its embed_dim is D. user_params: dims must end in D.
    temperature, similarity, pooling, input_dropout, max_len: as in DSSM.
    tied: the history reads the candidates' table; False gives it one of its own (the paper's form).

    Deviations from Covington 2016: cosine by default, the recency pooling, and the pooled history
    added to what the MLP makes of it (``user_params.residual``); input_dropout.
    """

    name: ClassVar[str] = "youtube_dnn"

    def __init__(
        self,
        user_features: Sequence[Feature],
        item_features: Sequence[Feature],
        *,
        user_params: UserParams,
        temperature: float = 0.07,
        similarity: str = "cosine",
        pooling: str = "recency",
        input_dropout: float = 0.0,
        tied: bool = True,
        max_len: int = 50,
    ) -> None:
        super().__init__(
            user_features, item_features, temperature=temperature, similarity=similarity
        )
        require_history(self)
        params = MLPParams.parse(user_params, name="user_params")
        tables = EmbeddingTables((*user_features, *item_features))
        encoder = ItemEncoder(tables, item_features)
        require_width(params, encoder.out_dim, name="user_params")
        past = past_encoder(encoder, item_features, tied=tied)
        self.item_tower = EncodedItemTower(encoder, similarity)
        self.user_tower = YoutubeUserTower(
            past,
            tables,
            self.schema,
            params,
            similarity=similarity,
            pooling=pooling,
            input_dropout=input_dropout,
            max_len=max_len,
        )
