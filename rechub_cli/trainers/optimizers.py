"""Optimizers and learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from rechub_cli.errors import ConfigError
from rechub_cli.suggest import did_you_mean

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adagrad": torch.optim.Adagrad,
    "sgd": torch.optim.SGD,
}
SCHEDULES = ("constant", "linear", "cosine")


def build_optimizer(model: nn.Module, params: Mapping[str, Any]) -> torch.optim.Optimizer:
    """An optimizer whose weight decay spares biases, norms and other vectors.

    params: ``lr`` > 0, ``weight_decay`` >= 0 (default 0), ``name`` of OPTIMIZERS (default adam).
    """
    given = dict(params)
    unknown = sorted(set(given) - {"name", "lr", "weight_decay"})
    if unknown:
        raise ConfigError(
            f"optimizer_params has {unknown}; allowed: name, lr, weight_decay."
            + did_you_mean(unknown[0], ("name", "lr", "weight_decay"))
        )
    name = given.pop("name", "adam")
    if name not in OPTIMIZERS:
        raise ConfigError(
            f"optimizer_params.name={name!r}; allowed: {', '.join(OPTIMIZERS)}."
            + did_you_mean(str(name), OPTIMIZERS)
        )
    decay = given.pop("weight_decay", 0.0)
    learned = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in learned if p.dim() > 1], "weight_decay": decay},
        {"params": [p for p in learned if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return OPTIMIZERS[name]([g for g in groups if g["params"]], fused=True, **given)


def build_schedule(
    optimizer: torch.optim.Optimizer, *, name: str, warmup_steps: int, total_steps: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """Linear warm-up, then constant, or linear or cosine decay to 0 at ``total_steps``."""
    if name not in SCHEDULES:
        raise ConfigError(f"schedule.name={name!r}; allowed: {', '.join(SCHEDULES)}")

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        done = min((step - warmup_steps) / max(total_steps - warmup_steps, 1), 1.0)
        if name == "linear":
            return 1.0 - done
        return 0.5 * (1 + math.cos(math.pi * done)) if name == "cosine" else 1.0

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
