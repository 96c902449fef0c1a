"""The optimizer's steps of a training, each after the gradients of some batches."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rechub_cli.trainers.gradients import GradientNorms


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
        self.gradients.step()
        if self.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.batches = 0
