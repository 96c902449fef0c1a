"""ComiRec-DR: a fixed number of interests by dynamic routing (Cen 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rechub_cli.checks import check_known, check_whole
from rechub_cli.features import Feature
from rechub_cli.layers.capsule import InterestRouting, PositionalRouting
from rechub_cli.models.matching.base import UserParams
from rechub_cli.models.matching.interests import MultiInterestModel

MAPS = {"interest": InterestRouting, "position": PositionalRouting}


class ComirecDR(MultiInterestModel):
    """Controllable multi-interest recommendation: the best of K interests scores an item.

    user_features, item_features, user_params, temperature, similarity, tied: as in YoutubeDNN.
    interest_num: K >= 1. routing_iterations: >= 1.
    agreement: of an interest with an item in the routing, ``cosine`` by a learned scale or ``dot``
        (the paper's); see Agreement.
    maps: ``interest``, see InterestRouting; ``position``, the paper's, see PositionalRouting.
    selection, label_attention, input_dropout: see MultiInterestModel; the paper's selection is
        target.
    max_len: most recent items of a history that count.

    Deviations from the paper: cosine in scores and routing, and one map an interest by default, and
    user features and an MLP behind each interest, added to it (the paper has neither; nearest to it
    is a table without side columns and ``user_params={dims: [embed_dim], residual: false}``).
    """

    name: ClassVar[str] = "comirec_dr"

    def __init__(
        self,
        user_features: Sequence[Feature],
        item_features: Sequence[Feature],
        *,
        user_params: UserParams,
        temperature: float = 0.07,
        similarity: str = "cosine",
        interest_num: int = 4,
        routing_iterations: int = 3,
        maps: str = "interest",
        agreement: str = "cosine",
        selection: str = "candidate",
        label_attention: float | None = None,
        input_dropout: float = 0.0,
        tied: bool = True,
        max_len: int = 50,
    ) -> None:
        check_whole(routing_iterations=routing_iterations)
        check_known("maps", maps, MAPS)
        super().__init__(
            user_features,
            item_features,
            user_params=user_params,
            temperature=temperature,
            similarity=similarity,
            interest_num=interest_num,
            selection=selection,
            label_attention=label_attention,
            input_dropout=input_dropout,
            tied=tied,
            interests=lambda dim: MAPS[maps](
                dim,
                num_interests=interest_num,
                iterations=routing_iterations,
                max_len=max_len,
                agreement=agreement,
            ),
        )
