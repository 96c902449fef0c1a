"""DSSM: two towers of MLPs (Huang 2013, section 3; Yi 2019, section 3 for the two-tower form)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from rechub_cli.errors import ConfigError
from rechub_cli.features import Feature, FeatureSchema
from rechub_cli.layers.embedding import Batch, ConcatEncoder, EmbeddingTables
from rechub_cli.layers.history import ColumnEncoder, HistoryPooling, history_lengths
from rechub_cli.layers.mlp import MLP, MLPParams
from rechub_cli.models.matching.base import MatchingModel, Normalised, UserParams


class PooledUserTower(nn.Module):
    """MLP over the user's features and pooled history columns: [B, D]."""

    def __init__(
        self,
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
        self.history = schema.history
        self.profile = ConcatEncoder(tables, schema.profile) if schema.profile else None
        widths = self.profile.widths if self.profile else []
        if self.history:
            self.columns = ColumnEncoder(tables, self.history)
            past = self.columns.widths
            self.pooling = HistoryPooling(sum(past), kind=pooling, max_len=max_len)
            widths = widths + past * self.pooling.vectors
        self.mlp = MLP(widths, params, input_dropout=input_dropout)
        self.end = Normalised(similarity)

    def forward(self, batch: Batch) -> Tensor:
        parts = [self.profile(batch)] if self.profile is not None else []
        if self.history:
            lengths = history_lengths(batch, self.history)
            parts.append(self.pooling(self.columns(batch), lengths))
        out: Tensor = self.end(self.mlp(torch.cat(parts, dim=-1)))
        return out


class FeatureItemTower(nn.Module):
    """MLP over the item's features: [N, D]."""

    def __init__(
        self, tables: EmbeddingTables, schema: FeatureSchema, params: MLPParams, *, similarity: str
    ) -> None:
        super().__init__()
        self.encoder = ConcatEncoder(tables, schema.item_features)
        self.mlp = MLP(self.encoder.widths, params)
        self.end = Normalised(similarity)

    def forward(self, batch: Batch) -> Tensor:
        out: Tensor = self.end(self.mlp(self.encoder(batch)))
        return out


class DSSM(MatchingModel):
    """u = normalise(MLP(user features, pooled history)), v = normalise(MLP(item features)).

    user_features: any; a history is optional. item_features: at least one.
    user_params, item_params: see MLPParams; both end in one width.
    temperature: > 0; 0.05 to 0.1 is the useful range under cosine.
    similarity: cosine or dot. pooling: mean or recency (see HistoryPooling). input_dropout: of
        what the user MLP reads. max_len: most recent items of a history that count.

    Deviations from Huang 2013: ids and embeddings in place of letter trigrams, and the softmax
    over the catalogue in place of four sampled documents (both as in Yi 2019); each MLP's input
    is added to its output (``residual``); input_dropout.
    """

    name: ClassVar[str] = "dssm"

    def __init__(
        self,
        user_features: Sequence[Feature],
        item_features: Sequence[Feature],
        *,
        user_params: UserParams,
        item_params: UserParams,
        temperature: float = 0.1,
        similarity: str = "cosine",
        pooling: str = "recency",
        input_dropout: float = 0.0,
        max_len: int = 50,
    ) -> None:
        super().__init__(
            user_features, item_features, temperature=temperature, similarity=similarity
        )
        if not user_features:
            raise ConfigError("DSSM needs at least one user feature")
        user_mlp = MLPParams.parse(user_params, name="user_params")
        item_mlp = MLPParams.parse(item_params, name="item_params")
        if user_mlp.dims[-1] != item_mlp.dims[-1]:
            raise ConfigError(
                f"user_params.dims={list(user_mlp.dims)} and item_params.dims="
                f"{list(item_mlp.dims)} must end in one width"
            )
        tables = EmbeddingTables((*user_features, *item_features))
        self.user_tower = PooledUserTower(
            tables,
            self.schema,
            user_mlp,
            similarity=similarity,
            pooling=pooling,
            input_dropout=input_dropout,
            max_len=max_len,
        )
        self.item_tower = FeatureItemTower(tables, self.schema, item_mlp, similarity=similarity)
