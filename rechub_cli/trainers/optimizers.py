"""Optimizers and learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rechub_cli.checks import check, check_known, is_number
from rechub_cli.errors import ConfigError
from rechub_cli.suggest import did_you_mean
from rechub_cli.trainers.rules import (
    ANNEAL,
    ANNEAL_RATE,
    LAZY,
    OPTIMIZERS,
    SCHEDULES,
    decay_rule,
)

DENSE: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adagrad": torch.optim.Adagrad,
    "sgd": torch.optim.SGD,
}


def build_optimizer(model: nn.Module, params: Mapping[str, Any]) -> torch.optim.Optimizer:
    """An optimizer whose weight decay spares biases, norms and other vectors.

    params: ``lr`` >= 0, ``weight_decay`` >= 0 (default 0), ``name`` of OPTIMIZERS (default adam,
        as is auto where choose_optimizer was not asked).
    ``lazy_adam``: Adam, but a row of an embedding table that a step does not look up keeps its
        value and its moments, where Adam would go on by its momentum. ``rowwise_adagrad``:
        Adagrad with one accumulator a row of a table, the mean square of the row's gradient
        (Naumov 2019's DLRM). Both give the tables sparse gradients and have no weight decay.
    """
    name, rate, decay = _settings(**params)
    tables = [m for m in model.modules() if isinstance(m, nn.Embedding)]
    for table in tables:
        table.sparse = name in LAZY
    learned = [p for p in model.parameters() if p.requires_grad]
    if name in LAZY:
        adam = name == "lazy_adam"
        lazy = torch.optim.SparseAdam if adam else RowwiseAdagrad
        dense = partial(DENSE["adam" if adam else "adagrad"], fused=True)
        own = {id(table.weight) for table in tables}
        rows, rest = [[p for p in learned if (id(p) in own) is its] for its in (True, False)]
        return Joined([make(ps, lr=rate) for make, ps in ((lazy, rows), (dense, rest)) if ps])
    groups = [
        {"params": [p for p in learned if p.dim() > 1], "weight_decay": decay},
        {"params": [p for p in learned if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return DENSE[name]([g for g in groups if g["params"]], fused=True, lr=rate)


def _settings(
    name: str = "adam", lr: float = 1e-3, weight_decay: float = 0.0, **unknown: object
) -> tuple[str, float, float]:
    """optimizer_params as given. Raises ConfigError for what they may not be."""
    if unknown:
        allowed = ("name", "lr", "weight_decay")
        raise ConfigError(
            f"optimizer_params has {sorted(unknown)}; allowed: {', '.join(allowed)}."
            + did_you_mean(min(unknown), allowed)
        )
    check_known("optimizer_params.name", name, OPTIMIZERS)
    check(
        {"weight_decay": weight_decay, "lr": lr},
        (not (is_number(lr) and lr >= 0), "lr|is no number >= 0"),
        (not (is_number(weight_decay) and weight_decay >= 0), "weight_decay|is no number >= 0"),
    )
    check({"weight_decay": weight_decay}, decay_rule(name, weight_decay))
    return "adam" if name == "auto" else name, lr, weight_decay


class RowwiseAdagrad(torch.optim.Optimizer):
    """Adagrad for sparse gradients, with one accumulator a row.

    params: tables [V, D]. lr: > 0. eps: added to the root of the accumulator.
    """

    def __init__(self, params: Sequence[Tensor], lr: float, eps: float = 1e-10) -> None:
        super().__init__(params, {"lr": lr, "eps": eps})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is None:
                    continue
                if "sum" not in self.state[table]:
                    self.state[table]["sum"] = table.new_zeros(len(table))
                gradient = table.grad.coalesce()
                rows, values = gradient.indices()[0], gradient.values()
                total = self.state[table]["sum"].index_add_(0, rows, values.square().mean(1))
                scale = group["lr"] / (total[rows].sqrt() + group["eps"])
                table.index_add_(0, rows, -scale.unsqueeze(1) * values)


class Joined(torch.optim.Optimizer):
    """Several optimizers that step as one, under one schedule."""

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        groups = [group for part in parts for group in part.param_groups]
        super().__init__([{"params": group["params"]} for group in groups], {"lr": 0.0})
        self.parts = tuple(parts)
        self.param_groups = groups  # shared, so that a schedule sets the parts' rates
        for part in parts:
            part.state = self.state

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for part in self.parts:
            part.step()


def build_schedule(
    optimizer: torch.optim.Optimizer, *, name: str, warmup_steps: int, total_steps: int | None
) -> torch.optim.lr_scheduler.LambdaLR:
    """Linear warm-up, then constant, or linear or cosine decay to 0 at ``total_steps``.

    anneal is constant, until the loop has anneal_schedule follow: once ``patience`` ends, or two
    epochs before ``n_epoch``, training goes on from the best epoch.
    total_steps: of anneal those before that. None where they are not known: then constant alone is
    possible.
    """
    check_known("schedule.name", name, SCHEDULES)
    if total_steps is None and name != "constant":
        raise ConfigError(
            f"schedule={name!r} ends with the last step, and training data without a length (len) "
            "do not say which that is: use 'constant', or give the data a length"
        )
    if total_steps and warmup_steps >= total_steps:
        raise ConfigError(
            f"schedule.warmup_steps={warmup_steps}, and {total_steps} steps are all that the "
            "epochs (of anneal: but the last two) have, so that the rate would never be reached; "
            "use fewer, or more epochs"
        )

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        if total_steps is None or name in ("constant", ANNEAL):
            return 1.0
        done = min((step - warmup_steps) / max(total_steps - warmup_steps, 1), 1.0)
        return 1.0 - done if name == "linear" else 0.5 * (1 + math.cos(math.pi * done))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def anneal_schedule(
    optimizer: torch.optim.Optimizer, total_steps: int | None
) -> torch.optim.lr_scheduler.LambdaLR:
    """From ANNEAL_RATE of the optimizer's first rate linearly to 0 at ``total_steps``."""
    total = max(total_steps or 1, 1)
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: ANNEAL_RATE * max(1 - step / total, 0.0)
    )
