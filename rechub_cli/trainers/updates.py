"""The optimizer's steps of a training, each after the gradients of some batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rechub_cli.trainers.gradients import GradientNorms
from rechub_cli.trainers.optimizers import anneal_schedule, build_optimizer, build_schedule
from rechub_cli.trainers.rules import ANNEAL, ANNEAL_EPOCHS, choose_schedule
from rechub_cli.trainers.steps import Steps


class Updates:
    """A step for every ``accumulate`` batches, and one for what an epoch leaves over.

    schedule: of the rate, auto no longer. steps: what an epoch has. gradients: looks at the model's
    gradients before each step. clip_norm: their largest norm; None: any.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        scheduler: torch.optim.lr_scheduler.LambdaLR,
        gradients: GradientNorms,
        steps: Steps,
        *,
        schedule: str,
        clip_norm: float | None = None,
        accumulate: int = 1,
    ) -> None:
        self.model, self.optimizer, self.scheduler = model, optimizer, scheduler
        self.schedule, self.steps = schedule, steps
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

    def anneal(self, epochs: int) -> None:
        """From here on the rate falls to 0 within so many epochs; see anneal_schedule."""
        total = self.steps.updates(n_epoch=epochs, accumulate=self.accumulate)
        self.scheduler = anneal_schedule(self.optimizer, total)


def build_updates(
    model: nn.Module,
    optimizer_params: Mapping[str, Any],
    gradients: GradientNorms,
    steps: Steps,
    *,
    n_epoch: int,
    schedule: str,
    warmup_steps: int,
    clip_norm: float | None,
    accumulate: int,
) -> Updates:
    """optimizer_params: see build_optimizer. schedule: see choose_schedule, and, as warmup_steps,
    build_schedule. n_epoch: most epochs. Others: Updates."""
    total = steps.updates(n_epoch=n_epoch, accumulate=accumulate)
    schedule = choose_schedule(schedule, n_epoch=n_epoch, sized=total is not None)
    if schedule == ANNEAL:  # those before the rate may fall
        total = steps.updates(n_epoch=n_epoch - ANNEAL_EPOCHS, accumulate=accumulate)
    optimizer = build_optimizer(model, optimizer_params)
    scheduler = build_schedule(
        optimizer, name=schedule, warmup_steps=warmup_steps, total_steps=total
    )
    options: Any = {"schedule": schedule, "clip_norm": clip_norm, "accumulate": accumulate}
    return Updates(model, optimizer, scheduler, gradients, steps, **options)
