"""The towers that the multi-interest models share; they differ in how interests are made.

B rows, L history length, K interests, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from rechub_cli.checks import check, check_known, check_whole
from rechub_cli.features import Feature, FeatureSchema
from rechub_cli.layers.embedding import Batch, ConcatEncoder, EmbeddingTables, ItemEncoder
from rechub_cli.layers.history import HistoryEncoder, history_lengths
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
from rechub_cli.models.rules import selection_rules

SELECTIONS = ("candidate", "target", "mixed")


class InterestUserTower(nn.Module):
    """Interests of the history, each with the user's features through one MLP: [B, K, D].

    interests: called with PastItems and lengths [B], gives [B, K, D].
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
        input_dropout: float,
    ) -> None:
        super().__init__()
        self.history = HistoryEncoder(encoder, schema.history)
        self.columns = schema.history
        self.interests = interests
        self.profile = ConcatEncoder(tables, schema.profile) if schema.profile else None
        widths = [encoder.out_dim, *(self.profile.widths if self.profile else [])]
        self.mlp = MLP(widths, params, input_dropout=input_dropout)
        self.end = Normalised(similarity)

    def forward(self, batch: Batch) -> Tensor:
        lengths = history_lengths(batch, self.columns)
        interests = self.interests(self.history(batch), lengths)  # [B, K, D]
        repeated = (interests == interests[:, :1]).all(-1, keepdim=True)
        vectors = self.mlp(interests, None if self.profile is None else self.profile(batch))
        # An unused interest repeats the first one, whatever dropout has made of both.
        out: Tensor = self.end(torch.where(repeated, vectors[:, :1], vectors))
        return out


class MultiInterestModel(MatchingModel):
    """A user has K vectors, of which the best scores an item.

    interest_num: K >= 1. input_dropout: of what the MLP reads. tied: the history reads the
    candidates' table. interests: makes the layer from the width D of the item vectors.
    selection: what scores a row's candidates in training. ``candidate``: each its own best
        interest, as when served. ``target``: the interest that scores the target best, all of
        them (the papers' choice). ``mixed``: one vector, the interests weighted by softmax(p *
        scores of the target), p = ``label_attention`` > 0, which is None elsewhere: MIND's
        label-aware attention, whose power p of a score would be NaN for negative ones.
    """

    def __init__(
        self,
        user_features: Sequence[Feature],
        item_features: Sequence[Feature],
        *,
        user_params: UserParams,
        temperature: float,
        similarity: str,
        interest_num: int,
        selection: str,
        label_attention: float | None,
        input_dropout: float,
        tied: bool,
        interests: Callable[[int], nn.Module],
    ) -> None:
        super().__init__(
            user_features, item_features, temperature=temperature, similarity=similarity
        )
        check_whole(interest_num=interest_num)
        check_known("selection", selection, SELECTIONS)
        check({"label_attention": label_attention}, *selection_rules(selection, label_attention))
        require_history(self)
        self.selection, self.label_attention = selection, label_attention
        params = MLPParams.parse(user_params, name="user_params")
        tables = EmbeddingTables((*user_features, *item_features))
        encoder = ItemEncoder(tables, item_features)
        require_width(params, encoder.out_dim, name="user_params")
        past = past_encoder(encoder, item_features, tied=tied)
        self.user_tower = InterestUserTower(
            past,
            tables,
            self.schema,
            params,
            interests(encoder.out_dim),
            similarity=similarity,
            input_dropout=input_dropout,
        )
        self.item_tower = EncodedItemTower(encoder, similarity)

    def several_interests(self, lengths: Tensor) -> Tensor:
        """Which histories of these lengths, int64 [B], are given more than one: bool [B]."""
        return lengths > 0

    def queries(self, user_vectors: Tensor, positive: Tensor) -> Tensor:
        """All interests [Q, K, D], or one query a row [Q, D]; see ``selection``."""
        if self.selection == "candidate":
            return user_vectors[:, : most_interests(user_vectors)]
        scores = torch.einsum("qkd,qd->qk", user_vectors, positive)
        if self.label_attention is None:
            best = scores.argmax(dim=1)
            return user_vectors[torch.arange(len(best), device=best.device), best]
        repeated = (user_vectors == user_vectors[:, :1]).all(-1)  # [Q, K]
        repeated[:, 0] = False
        scores = scores.masked_fill(repeated, -torch.inf)  # an unused interest takes no part
        weights = torch.softmax(self.label_attention * scores, dim=1)
        return torch.einsum("qk,qkd->qd", weights, user_vectors)


def most_interests(vectors: Tensor) -> int:
    """How many of the first K of [Q, K, D] a row needs: those behind only repeat its first one."""
    differs = (vectors != vectors[:, :1]).any(-1).any(0).nonzero()
    return int(differs[-1]) + 1 if len(differs) else 1
