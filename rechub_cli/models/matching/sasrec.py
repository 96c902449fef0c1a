"""SASRec: the next item by causal self-attention (Kang 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rechub_cli.features import Feature
from rechub_cli.layers.transformer import CausalTransformer
from rechub_cli.models.matching.causal import CausalModel


class SASRec(CausalModel):
    """u = the transformer's vector at the last item; v = the item's embedding (plus its side
    features').

    user_features, item_features, temperature, similarity, tied: as in YoutubeDNN; user features
        are added to u by a linear map, which the paper lacks.
    num_blocks, num_heads, hidden_dim, dropout, attention_dropout, positions: see
        CausalTransformer.
    max_len: length of a training window, and the most recent items that count when served.

    Deviations from Kang 2018: cosine by default; true pre-norm with an output projection;
    positions=relative, or end (the paper's, counted from the end of the window); values and that
    projection start near the identity. The paper's loss is mode pointwise with one negative;
    list-wise ranks far better.
    """

    name: ClassVar[str] = "sasrec"

    def __init__(
        self,
        user_features: Sequence[Feature],
        item_features: Sequence[Feature],
        *,
        temperature: float = 0.07,
        similarity: str = "cosine",
        num_blocks: int = 2,
        num_heads: int = 2,
        hidden_dim: int = 256,
        dropout: float = 0.3,
        attention_dropout: float = 0.0,
        tied: bool = True,
        max_len: int = 50,
        positions: str = "relative",
    ) -> None:
        super().__init__(
            user_features,
            item_features,
            temperature=temperature,
            similarity=similarity,
            tied=tied,
            max_len=max_len,
            sequence=lambda dim: CausalTransformer(
                dim,
                num_blocks=num_blocks,
                num_heads=num_heads,
                hidden_dim=hidden_dim,
                dropout=dropout,
                attention_dropout=attention_dropout,
                max_len=max_len,
                positions=positions,
            ),
        )
