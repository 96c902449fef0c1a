"""GRU4Rec: the next item by a recurrent net (Hidasi 2016, 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rechub_cli.checks import check_flags
from rechub_cli.features import Feature
from rechub_cli.layers.gru import CausalGRU
from rechub_cli.models.matching.causal import CausalModel


class GRU4Rec(CausalModel):
    """u = the GRU's state after the last item, plus a linear map of that item (``residual``); v =
    the item's embedding (plus its side features').

    user_features, item_features, temperature, similarity, tied: as in SASRec; tied is the
        authors' constrained embedding.
    num_layers, hidden_dim, input_dropout, dropout, residual: see CausalGRU.
    max_len: length of a training window, and the most recent items that count when served.

    Deviations from the authors' code: cosine and ``residual`` by default; unrolled over windows, or
    what is before a target, in place of session-parallel batches that keep their state; no item
    bias.
    """

    name: ClassVar[str] = "gru4rec"

    def __init__(
        self,
        user_features: Sequence[Feature],
        item_features: Sequence[Feature],
        *,
        temperature: float = 0.07,
        similarity: str = "cosine",
        num_layers: int = 1,
        hidden_dim: int = 256,
        input_dropout: float = 0.2,
        dropout: float = 0.3,
        residual: bool = True,
        tied: bool = True,
        max_len: int = 50,
    ) -> None:
        check_flags(residual=residual)
        super().__init__(
            user_features,
            item_features,
            temperature=temperature,
            similarity=similarity,
            tied=tied,
            max_len=max_len,
            sequence=lambda dim: CausalGRU(
                dim,
                num_layers=num_layers,
                hidden_dim=hidden_dim,
                input_dropout=input_dropout,
                dropout=dropout,
                residual=residual,
            ),
        )
