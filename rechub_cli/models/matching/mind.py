"""MIND: several interests a user by capsule routing (Li 2019).

B rows, L history length, K interests, D width, Q queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from rechub_cli.errors import RechubError
from rechub_cli.features import Feature
from rechub_cli.layers.capsule import CapsuleRouting
from rechub_cli.models.matching.base import MatchingModel, UserParams
from rechub_cli.models.matching.interests import build_towers


class MIND(MatchingModel):
    """Multi-interest network with dynamic routing: the best of K interests scores an item.

    user_features, item_features, user_params, temperature, similarity, tied: as in YoutubeDNN.
    interest_num: K >= 1; a history of length L has clamp(floor(log2 L), 1, K) of them.
    routing_iterations, recency: see CapsuleRouting. max_len: most recent items of a
        history that count.
    label_attention: None, the target takes its best interest (the paper's p = infinity);
        p > 0, the interests are mixed by softmax(p * scores of the target). A deviation: the
        paper's power of a score is NaN for negative ones, and p = infinity must not pick the
        most negative interest.
    """

    name: ClassVar[str] = "mind"

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
        recency: bool = True,
        label_attention: float | None = None,
        tied: bool = True,
        max_len: int = 50,
    ) -> None:
        super().__init__(
            user_features, item_features, temperature=temperature, similarity=similarity
        )
        if routing_iterations < 1:
            raise RechubError(f"routing_iterations={routing_iterations}; allowed: integers >= 1")
        if label_attention is not None and not label_attention > 0:
            raise RechubError(f"label_attention={label_attention}; allowed: None or a number > 0")
        self.label_attention = label_attention
        self.user_tower, self.item_tower = build_towers(
            self,
            user_params,
            interest_num=interest_num,
            tied=tied,
            interests=lambda dim: CapsuleRouting(
                dim,
                num_interests=interest_num,
                iterations=routing_iterations,
                max_len=max_len,
                recency=recency,
            ),
        )

    def queries(self, user_vectors: Tensor, positive: Tensor) -> Tensor:
        """Label-aware attention over the interests (Li 2019, section 4.3): [Q, D]."""
        if self.label_attention is None:
            return super().queries(user_vectors, positive)
        scores = torch.einsum("qkd,qd->qk", user_vectors, positive)
        repeated = (user_vectors == user_vectors[:, :1]).all(-1)  # [Q, K]
        repeated[:, 0] = False
        scores = scores.masked_fill(repeated, -torch.inf)  # an unused interest takes no part
        weights = torch.softmax(self.label_attention * scores, dim=1)
        return torch.einsum("qk,qkd->qd", weights, user_vectors)
