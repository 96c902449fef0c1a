"""Live progress on a terminal; without one, one plain line an epoch, and more in a long one."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from rechub_cli.run_warning import RunWarning
from rechub_cli.trainers.reporter import EpochResult, Reporter

PLAIN_WIDTH = 120
FIRST_WAIT, LONGEST_WAIT = 15.0, 600.0
"""Seconds of an epoch before its first plain line, twice as many before the next, and so on."""


def duration(seconds: float) -> str:
    """In the unit that a reader would choose."""
    if seconds < 1:
        return f"{1e3 * seconds:.1f} ms"
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.1f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def _console(*, stderr: bool = False) -> Console:
    """Prints what it is given: names of a user's columns and files are no markup."""
    return Console(stderr=stderr, highlight=False, soft_wrap=True, markup=False, emoji=False)


def result_console() -> Console:
    """For results on stdout; a pipe or a file gets lines that are not folded."""
    console = _console()
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    return console


class ConsoleReporter(Reporter):
    """Prints to stderr, and writes ``metrics.jsonl``, one line an epoch.

    log: the file of the epoch lines; None writes none.
    """

    def __init__(self, log: Path | None = None) -> None:
        self.console = _console(stderr=True)
        self.log = log
        self.bar: Progress | None = None
        self.task: TaskID | None = None
        self.n_epoch = self.done = 0
        self.monitor = ""
        self.steps: int | None = None
        self.started = self.epoch_started = time.perf_counter()
        self.due = self.started + FIRST_WAIT

    def start(self, *, n_epoch: int, steps: int | None, monitor: str | None) -> None:
        self.n_epoch, self.steps, self.monitor = n_epoch, steps, monitor or ""
        self.started = self.epoch_started = time.perf_counter()
        self.due = self.started + FIRST_WAIT
        if not self.console.is_terminal:
            return
        self.bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[most]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.4f}  {task.fields[rate]:,.0f} rows/s"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[best]}"),
            console=self.console,
            transient=True,
        )
        self.task = self.bar.add_task(
            "", total=steps, epoch=1, most=n_epoch, loss=0.0, rate=0.0, best=""
        )
        self.bar.start()

    def step(self, *, epoch: int, step: int, loss: float, rows: int) -> None:
        now = time.perf_counter()
        seconds = max(now - self.epoch_started, 1e-3)
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=step, epoch=epoch, loss=loss, rate=rows / seconds)
        elif now >= self.due:
            self.due = now + min(seconds, LONGEST_WAIT)
            self.console.print(self._within(epoch, step, loss, seconds / step))

    def _within(self, epoch: int, step: int, loss: float, seconds: float) -> str:
        """The line of an epoch that is not done. seconds: of a step, a mean."""
        of = "" if self.steps is None else f"/{self.steps:,}"
        line = f"epoch {epoch}/{self.n_epoch}  step {step:,}{of}  loss {loss:.4f}  "
        line += f"{duration(seconds)} a step"
        if self.steps is None:
            return line
        left = (self.steps - step) * seconds
        rest = (self.n_epoch - epoch) * self.steps * seconds
        whole = f"{duration(left + rest)} if all {self.n_epoch} run"
        return f"{line}  {duration(left)} left of the epoch, {whole}"

    def epoch(self, result: EpochResult) -> None:
        self.done = result.epoch
        left = (time.perf_counter() - self.started) / result.epoch * (self.n_epoch - result.epoch)
        parts = [
            f"epoch {result.epoch}/{self.n_epoch}",
            f"loss {result.loss:.4f}",
            f"{result.rows_per_s:,.0f} rows/s",
        ]
        if self.monitor in result.metrics and result.best is not None:
            parts.append(f"valid {self.monitor} {result.metrics[self.monitor]:.4f}")
            parts.append(f"best {result.best:.4f} (epoch {result.best_epoch})")
        parts.append(f"at most {duration(left)} left")
        self.console.print("  ".join(parts))
        if self.bar is not None and self.task is not None:
            best = "" if result.best is None else f"best {self.monitor} {result.best:.4f}"
            following = min(result.epoch + 1, self.n_epoch)
            self.bar.update(self.task, completed=0, epoch=following, best=best)
        self.epoch_started = time.perf_counter()
        self.due = self.epoch_started + FIRST_WAIT
        if self.log is not None:
            with self.log.open("a") as file:
                file.write(json.dumps(_line(result), sort_keys=True) + "\n")

    def anneal(self, best_epoch: int, *, epochs: int) -> None:
        self.n_epoch = self.done + epochs
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, epoch=self.done + 1, most=self.n_epoch)
        self.console.print(
            f"on from epoch {best_epoch}, for {epochs} epochs in which the rate falls to 0"
        )

    def warn(self, warning: RunWarning) -> None:
        self.console.print(str(warning))

    def stop(self, reason: str) -> None:
        self.close()
        self.console.print(f"stopped: {reason}")

    def close(self) -> None:
        """Give the terminal back."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
        sys.stderr.flush()


def _line(result: EpochResult) -> dict[str, object]:
    return {
        "epoch": result.epoch,
        "loss": result.loss,
        "seconds": round(result.seconds, 3),
        "rows_per_s": round(result.rows_per_s, 1),
        "valid": result.metrics,
        "gradient_norms": {n: float(f"{v:.4g}") for n, v in result.gradient_norms.items()},
    }
