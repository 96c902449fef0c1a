"""How many epochs a training has, and when its rate falls."""

from __future__ import annotations

from collections.abc import Sequence

from rechub_cli.trainers.reporter import EpochResult
from rechub_cli.trainers.rules import ANNEAL, ANNEAL_EPOCHS


def best_so_far(
    value: float | None, epoch: int, before: Sequence[EpochResult]
) -> tuple[float | None, int | None]:
    """The best monitored value and its epoch. value: of this epoch; None: nothing is validated.
    before: the epochs that were."""
    if value is None:
        return None, None
    last = before[-1] if before else None
    if last is None or last.best is None or value > last.best:
        return value, epoch
    return last.best, last.best_epoch


class Course:
    """What follows each epoch. reason: why training has ended, in words.

    n_epoch: most epochs. patience: epochs without a better ``monitor`` before the end; None: any.
    schedule: under anneal ANNEAL_EPOCHS stand at the end, be that by patience or by n_epoch.
    """

    def __init__(self, n_epoch: int, patience: int | None, monitor: str, schedule: str) -> None:
        self.last, self.patience, self.monitor = n_epoch, patience, monitor
        self.anneal = schedule == ANNEAL
        self.reason = f"all {n_epoch} epochs done"

    def falls(self, result: EpochResult) -> int:
        """Epochs at a falling rate, from the best one on, that follow this epoch; mostly 0."""
        due = self._stale(result) or result.epoch == self.last - ANNEAL_EPOCHS
        if not (self.anneal and due):
            return 0
        self.anneal, self.patience, self.last = False, None, result.epoch + ANNEAL_EPOCHS
        self.reason = f"the rate fell to 0 within {ANNEAL_EPOCHS} epochs"
        return ANNEAL_EPOCHS

    def ends(self, result: EpochResult) -> bool:
        """Whether the epoch was the last one."""
        stale = self._stale(result)
        if stale:
            self.reason = f"no better {self.monitor} for {self.patience} epochs"
        return stale or result.epoch >= self.last

    def _stale(self, result: EpochResult) -> bool:
        if self.patience is None or result.best_epoch is None:
            return False
        return result.epoch - result.best_epoch >= self.patience
