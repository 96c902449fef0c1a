"""What a long run says of itself where there is no terminal."""

from __future__ import annotations

import pytest

from rechub_cli import progress
from rechub_cli.progress import ConsoleReporter, duration
from rechub_cli.trainers.reporter import EpochResult


class _Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(progress.time, "perf_counter", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    return _Clock(monkeypatch)


def _steps(reporter: ConsoleReporter, clock: _Clock, *, epoch: int, count: int) -> None:
    for step in range(1, count + 1):
        clock.now += 2.0
        reporter.step(epoch=epoch, step=step, loss=1.5, rows=4 * step)


def test_a_long_epoch_speaks_at_growing_intervals(
    clock: _Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    reporter = ConsoleReporter()
    reporter.start(n_epoch=3, steps=1000, monitor="ndcg@10")
    _steps(reporter, clock, epoch=1, count=40)  # 80 s
    assert capsys.readouterr().err.splitlines() == [
        "epoch 1/3  step 8/1,000  loss 1.5000  2.0 s a step  33.1 min left of the epoch, "
        "99.7 min if all 3 run",
        "epoch 1/3  step 16/1,000  loss 1.5000  2.0 s a step  32.8 min left of the epoch, "
        "99.5 min if all 3 run",
        "epoch 1/3  step 32/1,000  loss 1.5000  2.0 s a step  32.3 min left of the epoch, "
        "98.9 min if all 3 run",
    ]


def test_the_longest_silence_is_ten_minutes(
    clock: _Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    reporter = ConsoleReporter()
    reporter.start(n_epoch=1, steps=10**6, monitor=None)
    _steps(reporter, clock, epoch=1, count=1800)  # an hour: 16, 32 ... 1024 s, then each 600
    said = [line.split()[3] for line in capsys.readouterr().err.splitlines()]
    assert said == [
        f"{step:,}/1,000,000" for step in (8, 16, 32, 64, 128, 256, 512, 812, 1112, 1412, 1712)
    ]


def test_a_falling_rate_is_told(clock: _Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """And the end is then known."""
    reporter = ConsoleReporter()
    reporter.start(n_epoch=200, steps=7, monitor="ndcg@10")
    for epoch in (1, 2, 3, 4):
        _steps(reporter, clock, epoch=epoch, count=7)  # 14 s
        reporter.epoch(EpochResult(epoch, 1.5, 2.0, 14.0))
        if epoch == 2:
            reporter.anneal(1, epochs=2)
    said = capsys.readouterr().err.splitlines()
    assert said[2] == "on from epoch 1, for 2 epochs in which the rate falls to 0"
    assert [line[:11].rstrip() for line in said] == [
        "epoch 1/200",
        "epoch 2/200",
        "on from epo",
        "epoch 3/4",
        "epoch 4/4",
    ]
    assert [line.split("at most ")[1] for line in said[3:]] == ["14.0 s left", "0.0 ms left"]


def test_short_epochs_are_a_line_each(clock: _Clock, capsys: pytest.CaptureFixture[str]) -> None:
    reporter = ConsoleReporter()
    reporter.start(n_epoch=200, steps=7, monitor="ndcg@10")
    for epoch in (1, 2, 3):
        _steps(reporter, clock, epoch=epoch, count=7)  # 14 s
        reporter.epoch(EpochResult(epoch, 1.5, 2.0, 14.0))
    assert capsys.readouterr().err.splitlines() == [
        f"epoch {epoch}/200  loss 1.5000  2 rows/s  at most {left} left"
        for epoch, left in ((1, "46.4 min"), (2, "46.2 min"), (3, "46.0 min"))
    ]


def test_an_epoch_of_unknown_length_tells_its_pace(
    clock: _Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    reporter = ConsoleReporter()
    reporter.start(n_epoch=3, steps=None, monitor=None)
    _steps(reporter, clock, epoch=2, count=8)
    assert capsys.readouterr().err == "epoch 2/3  step 8  loss 1.5000  2.0 s a step\n"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0042, "4.2 ms"),
        (99.94, "99.9 s"),
        (100, "1.7 min"),
        (5_990, "99.8 min"),
        (6_000, "1.7 h"),
    ],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said
