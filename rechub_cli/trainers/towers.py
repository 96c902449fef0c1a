"""A model's towers as training calls them: in the precision and compiled as the trainer says.

The model knows nothing of it: evaluation, export and checkpoints use its own fp32 towers.
B rows, L history length, N items, K interests, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException

from rechub_cli.errors import ConfigError
from rechub_cli.layers.products import matmul_precision
from rechub_cli.models.matching.base import MatchingModel
from rechub_cli.models.matching.causal import CausalModel
from rechub_cli.trainers.device import has_amx
from rechub_cli.trainers.options import FP32, StepOptions


class Tower(Protocol):
    def __call__(self, batch: Mapping[str, Tensor]) -> Tensor: ...


class Towers:
    """The two sides of ``model``; their vectors are fp32, whatever the layers compute in.

    Raises ConfigError at the first call where the towers cannot be compiled here.
    """

    def __init__(self, model: MatchingModel, options: StepOptions = FP32) -> None:
        self.model, self.options = model, options
        self.device = next(model.parameters()).device
        self._users, self._items = self._made(model.user_tower), self._made(model.item_tower)
        causal = isinstance(model, CausalModel)
        self._positions = self._made(model.position_vectors) if causal else None

    def users(self, features: Mapping[str, Tensor]) -> Tensor:
        """[B, D], or [B, K, D]."""
        return self._users(features)

    def positions(self, features: Mapping[str, Tensor]) -> Tensor:
        """Of a causal model: one vector a position, [B, L, D]."""
        assert self._positions is not None
        return self._positions(features)

    def items(self, features: Mapping[str, Tensor]) -> Tensor:
        """[N, D]."""
        return self._items(features)

    @contextmanager
    def products(self) -> Iterator[None]:
        """Products of fp32 matrices inside round their factors to bf16 where the CPU has AMX.

        Sums and results stay fp32, so a softmax over them is one of fp32 scores.
        """
        if self.options.precision == "fp32" or self.device.type != "cpu" or not has_amx():
            yield
            return
        with matmul_precision("bf16"):
            yield

    def _made(self, tower: Any) -> Tower:
        if self.options.compile:
            tower = partial(_compiled, torch.compile(tower, dynamic=True))
        if self.options.precision == "bf16":
            tower = partial(self._in_bf16, tower)
        made: Tower = tower
        return made

    def _in_bf16(self, tower: Tower, features: Mapping[str, Tensor]) -> Tensor:
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            vectors = tower(features)
        return vectors.float()


def _compiled(tower: Callable[..., Any], features: Mapping[str, Tensor]) -> Tensor:
    try:
        found: Tensor = tower(features)
    except TorchDynamoException as error:
        reason = " ".join(str(error).split("\n")[:2]).strip()  # which backend, and why
        raise ConfigError(
            f"compile=true: the towers cannot be compiled here ({reason}): use compile=false, or "
            "install what is missing"
        ) from None
    return found
