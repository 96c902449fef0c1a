"""MIND: several interests a user by capsule routing (Li 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from rechub_cli.checks import check_flags, check_whole
from rechub_cli.features import Feature
from rechub_cli.layers.capsule import CapsuleRouting, interest_counts
from rechub_cli.models.matching.base import UserParams
from rechub_cli.models.matching.interests import MultiInterestModel


class MIND(MultiInterestModel):
    """Multi-interest network with dynamic routing: the best of K interests scores an item.

    user_features, item_features, user_params, temperature, similarity, tied: as in YoutubeDNN.
    interest_num: K >= 1; a history of length L has clamp(floor(log2 L), 1, K) of them.
    routing_iterations, recency: see CapsuleRouting. agreement: of an interest with an item in the
        routing, ``cosine`` by a learned scale or ``dot`` (the paper's); see Agreement. max_len:
        most recent items of a history that count.
    selection, label_attention, input_dropout: see MultiInterestModel; the paper's selection is
        mixed.

    Further deviations from the paper: cosine by default; the MLP behind each interest ends in a
    linear layer (the paper's ReLU would leave it no negative coordinate), to which its input is
    added (``user_params.residual``); input_dropout; those of CapsuleRouting.
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
        agreement: str = "cosine",
        selection: str = "candidate",
        label_attention: float | None = None,
        input_dropout: float = 0.0,
        tied: bool = True,
        max_len: int = 50,
    ) -> None:
        check_whole(routing_iterations=routing_iterations)
        check_flags(recency=recency)
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
            interests=lambda dim: CapsuleRouting(
                dim,
                num_interests=interest_num,
                iterations=routing_iterations,
                max_len=max_len,
                recency=recency,
                agreement=agreement,
            ),
        )

    def several_interests(self, lengths: Tensor) -> Tensor:
        routing = self.user_tower.get_submodule("interests")
        assert isinstance(routing, CapsuleRouting)
        return interest_counts(lengths.clamp(max=routing.max_len), 2) > 1
