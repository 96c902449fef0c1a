"""What a training loop tells its watcher."""

from __future__ import annotations

from dataclasses import dataclass, field

from rechub_cli.run_warning import RunWarning


@dataclass(frozen=True)
class EpochResult:
    """One epoch's line. loss: mean over steps. rows_per_s: training rows a second.

    metrics: of the validation queries. best: the monitor's best value so far, at ``best_epoch``.
    gradient_norms: by part of the model, the mean over a few steps; see GradientNorms.
    """

    epoch: int
    loss: float
    rows_per_s: float
    seconds: float
    metrics: dict[str, float] = field(default_factory=dict)
    best: float | None = None
    best_epoch: int | None = None
    gradient_norms: dict[str, float] = field(default_factory=dict)


class Reporter:
    """Hears of the loop's progress; this one keeps silent."""

    def start(self, *, n_epoch: int, steps: int | None, monitor: str | None) -> None:
        """Training begins. steps: batches an epoch, where known."""

    def step(self, *, epoch: int, step: int, loss: float, rows: int) -> None:
        """One batch is done."""

    def epoch(self, result: EpochResult) -> None:
        """One epoch is done and validated."""

    def anneal(self, best_epoch: int, *, epochs: int) -> None:
        """Training goes on from the best epoch, for so many at a rate that falls to 0."""

    def warn(self, warning: RunWarning) -> None:
        """Something is wrong with the run."""

    def stop(self, reason: str) -> None:
        """Training has ended, and why."""
