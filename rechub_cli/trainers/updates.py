"""The optimizer's steps of a training, each after the gradients of some batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rechub_cli.trainers.gradients import GradientNorms
from rechub_cli.trainers.optimizers import anneal_schedule, build_optimizer, build_schedule


class Updates:
    """A step for every ``accumulate`` batches, and one for what an epoch leaves over.

    gradients: looks at the model's gradients before each step. clip_norm: their largest norm;
    None: any.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        scheduler: torch.optim.lr_scheduler.LambdaLR,
        gradients: GradientNorms,
        *,
        clip_norm: float | None = None,
        accumulate: int = 1,
    ) -> None:
        self.model, self.optimizer, self.scheduler = model, optimizer, scheduler
        self.gradients, self.clip_norm, self.accumulate = gradients, clip_norm, accumulate
        self.batches = 0
        optimizer.zero_grad(set_to_none=True)

    def add(self, loss: Tensor) -> None:
        """Take a batch's gradient. loss: a scalar."""
        (loss / self.accumulate).backward()  # type: ignore[no-untyped-call]
        self.batches += 1

    def step(self, *, rest: bool = False) -> None:
        """Step once ``accumulate`` batches were added, or, of the ``rest``, any."""
        if self.batches < (1 if rest else self.accumulate):
            return
        if self.batches < self.accumulate:  # the mean over these
            torch._foreach_mul_(
                [p.grad for p in self.model.parameters() if p.grad is not None],
                self.accumulate / self.batches,
            )
        self.gradients.step()
        if self.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.batches = 0

    def anneal(self, total_steps: int | None) -> None:
        """From here on the rate falls to 0 within so many steps; see anneal_schedule."""
        self.scheduler = anneal_schedule(self.optimizer, total_steps)


def build_updates(
    model: nn.Module,
    optimizer_params: Mapping[str, Any],
    gradients: GradientNorms,
    *,
    schedule: str,
    warmup_steps: int,
    total_steps: int | None,
    clip_norm: float | None,
    accumulate: int,
) -> Updates:
    """optimizer_params: see build_optimizer. total_steps: see build_schedule. Others: Updates."""
    optimizer = build_optimizer(model, optimizer_params)
    scheduler = build_schedule(
        optimizer, name=schedule, warmup_steps=warmup_steps, total_steps=total_steps
    )
    return Updates(
        model, optimizer, scheduler, gradients, clip_norm=clip_norm, accumulate=accumulate
    )
