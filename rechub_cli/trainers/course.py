"""How many epochs a training has, and when its rate falls."""

from __future__ import annotations

from rechub_cli.trainers.reporter import EpochResult
from rechub_cli.trainers.rules import ANNEAL, ANNEAL_EPOCHS, choose_schedule
from rechub_cli.trainers.steps import Steps


def planned(schedule: str, steps: Steps, n_epoch: int, accumulate: int) -> tuple[str, int | None]:
    """The schedule for build_schedule, auto no longer (see choose_schedule), and the optimizer's
    steps, where known; of anneal those before the rate may fall."""
    total = steps.updates(n_epoch=n_epoch, accumulate=accumulate)
    schedule = choose_schedule(schedule, n_epoch=n_epoch, sized=total is not None)
    if schedule == ANNEAL:
        total = steps.updates(n_epoch=n_epoch - ANNEAL_EPOCHS, accumulate=accumulate)
    return schedule, total


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
