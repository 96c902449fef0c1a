"""The contract of every matching model.

B rows, N items, K interests, D width, Q queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from rechub_cli.checks import check_flags, check_known, is_number
from rechub_cli.errors import ConfigError
from rechub_cli.features import Feature, FeatureSchema
from rechub_cli.layers.embedding import Batch, EmbeddingTables, ItemEncoder
from rechub_cli.layers.mlp import MLPParams
from rechub_cli.layers.rows import ROW_STEP, in_steps

SIMILARITIES = ("cosine", "dot")
UserParams = MLPParams | dict[str, Any]
LEAST_NORM = 1e-2
"""What a shorter vector is divided by under cosine, in place of its norm. A user without a history
has one of 0 until biases move, whose gradient would be divided by 0."""


class MatchingModel(nn.Module):
    """Two towers whose vectors are compared by a plain inner product, divided by temperature.

    ``user_tower(batch)`` gives [B, D], or [B, K, D] for K interests of which an unused one
    repeats interest 0; ``item_tower(batch)`` gives [N, D]. Both are normalised where the
    similarity is cosine. Towers read batches keyed by feature name and hold no mode.

    user_features, item_features: see FeatureSchema; the first item feature is the item's id.
    temperature: > 0, divides every score. similarity: cosine or dot.
    """

    name: ClassVar[str]
    user_tower: nn.Module
    item_tower: nn.Module

    def __init__(
        self,
        user_features: Sequence[Feature],
        item_features: Sequence[Feature],
        *,
        temperature: float,
        similarity: str,
    ) -> None:
        super().__init__()
        self.schema = FeatureSchema(user_features, item_features)
        if not item_features:
            raise ConfigError(f"{type(self).__name__} needs at least one item feature: its id")
        if not (is_number(temperature) and temperature > 0):
            raise ConfigError(f"temperature={temperature!r}; allowed: any number above 0")
        check_known("similarity", similarity, SIMILARITIES)
        self.temperature = temperature
        self.similarity = similarity

    @property
    def reads_users(self) -> bool:
        """Whether it has something to tell a user without history by."""
        return bool(self.schema.profile)

    def queries(self, user_vectors: Tensor, positive: Tensor) -> Tensor:
        """What a row's candidates are scored by in training, by ``best_products``.

        user_vectors: [Q, D], or [Q, K, D] for K interests. positive: of each row, [Q, D].
        """
        return user_vectors

    def scores(self, user_vectors: Tensor, item_vectors: Tensor) -> Tensor:
        """Serving scores [B, N]: inner product / temperature, the best interest's where K > 1.

        One interest after another: the memory is that of one, however many a user has.
        """
        queries = user_vectors / self.temperature
        first, *others = queries.unbind(1) if queries.dim() == 3 else [queries]
        best = first @ item_vectors.T
        for interest in others:
            differs = (interest != first).any(-1)
            if bool(differs.all()):
                best = torch.maximum(best, interest @ item_vectors.T)
            elif bool(differs.any()):  # a repeated interest tells nothing new
                own = in_steps(differs.nonzero().flatten(), ROW_STEP)
                best[own] = torch.maximum(best[own], interest[own] @ item_vectors.T)
        return best

    def forward(self, batch: Batch) -> Tensor:
        """Scores of aligned rows, [B]: the user of a row against the item of the same row."""
        items = self.item_tower(batch)
        queries = self.queries(self.user_tower(batch), items)
        return best_products(queries, items.unsqueeze(1)).squeeze(1) / self.temperature


def best_products(queries: Tensor, items: Tensor) -> Tensor:
    """Inner products [Q, N] with shared items [N, D] or each row's own [Q, N, D].

    queries: [Q, D], or [Q, K, D], of which an item takes its best.
    """
    if items.dim() == 2:
        products = queries @ items.T  # [Q, N] or [Q, K, N]
    elif queries.dim() == 2:
        # Batched products of so small matrices take twice the time.
        products = (items * queries.unsqueeze(1)).sum(-1)
    else:
        products = torch.bmm(queries, items.transpose(1, 2))
    return products.amax(dim=1) if queries.dim() == 3 else products


class Normalised(nn.Module):
    """Ends a tower: unit vectors under cosine, the vectors themselves under dot."""

    def __init__(self, similarity: str) -> None:
        super().__init__()
        self.cosine = similarity == "cosine"

    def forward(self, vectors: Tensor) -> Tensor:
        if not self.cosine:
            return vectors
        return nn.functional.normalize(vectors, dim=-1, eps=LEAST_NORM)


class EncodedItemTower(nn.Module):
    """The item encoder's vector, normalised where the similarity is cosine: [N, D]."""

    def __init__(self, encoder: ItemEncoder, similarity: str) -> None:
        super().__init__()
        self.encoder = encoder
        self.end = Normalised(similarity)

    def forward(self, batch: Batch) -> Tensor:
        out: Tensor = self.end(self.encoder(batch))
        return out


def require_history(model: MatchingModel) -> None:
    """Raise ConfigError where no user feature is a history of the item id."""
    item_id = model.schema.item_features[0].name
    history = model.schema.history
    if not history or history[0].item_feature.name != item_id:
        raise ConfigError(
            f"{type(model).__name__} reads the user's history: add "
            f"SequenceFeature('history', ..., shared_with={item_id!r}) to user_features"
        )


def past_encoder(
    encoder: ItemEncoder, item_features: Sequence[Feature], *, tied: bool
) -> ItemEncoder:
    """What reads the history: the candidates' encoder, or (untied) one with tables of its own."""
    check_flags(tied=tied)
    return encoder if tied else ItemEncoder(EmbeddingTables(item_features), item_features)


def require_width(params: MLPParams, dim: int, *, name: str) -> None:
    """Raise ConfigError where a user MLP does not end in the width of the item vectors."""
    if params.dims[-1] != dim:
        raise ConfigError(
            f"{name}.dims={list(params.dims)} ends in {params.dims[-1]}, and the item vectors "
            f"have {dim} coordinates: the last width must be {dim}"
        )
