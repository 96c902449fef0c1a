"""ComiRec-DR: a fixed number of interests by dynamic routing (Cen 2020).

B rows, K interests, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rechub_cli.errors import RechubError
from rechub_cli.features import Feature
from rechub_cli.layers.capsule import PositionalRouting
from rechub_cli.models.matching.base import MatchingModel, UserParams
from rechub_cli.models.matching.interests import build_towers


class ComirecDR(MatchingModel):
    """Controllable multi-interest recommendation: the best of K interests scores an item.

    user_features, item_features, user_params, temperature, similarity, tied: as in YoutubeDNN.
    interest_num: K >= 1. routing_iterations: >= 1.
    max_len: most recent items of a history that count.

    In training the target takes the interest that scores it best. Deviations from the paper:
    cosine by default, and user features and an MLP behind each interest (the paper has neither;
    ComiRec's own form is a table without side columns and ``user_params.dims=[embed_dim]``).
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
        tied: bool = True,
        max_len: int = 50,
    ) -> None:
        super().__init__(
            user_features, item_features, temperature=temperature, similarity=similarity
        )
        if routing_iterations < 1:
            raise RechubError(f"routing_iterations={routing_iterations}; allowed: integers >= 1")
        self.user_tower, self.item_tower = build_towers(
            self,
            user_params,
            interest_num=interest_num,
            tied=tied,
            interests=lambda dim: PositionalRouting(
                dim, num_interests=interest_num, iterations=routing_iterations, max_len=max_len
            ),
        )
