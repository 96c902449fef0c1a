"""What the meter counts, on loops and clocks whose answers are known."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from rechub_cli.cost import steps
from rechub_cli.cost.memory import memory_limit, state_factor, weight_bytes
from rechub_cli.cost.steps import measure_steps, ranking_cost, spread_batches
from rechub_cli.data.bucketing import golden_walk
from rechub_cli.data.dataset import MatchData
from rechub_cli.trainers.reporter import EpochResult, Reporter

Clock = SimpleNamespace


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that stands still unless told to go on."""
    found = Clock(now=100.0)
    monkeypatch.setattr(steps.time, "perf_counter", lambda: found.now)
    return found


class Loop:
    """A training loop: a step takes 3 s, a validation 50 s."""

    def __init__(self, model: nn.Module, clock: Clock, *, steps: int = 2, rows: int = 5) -> None:
        self.model, self.clock, self.rows, self.steps = model, clock, rows, steps
        self.optimizer = torch.optim.Adam(model.parameters())

    def __call__(self, reporter: Reporter) -> Loop:
        self.reporter = reporter
        return self

    def fit(self, data: object) -> None:
        self.reporter.start(n_epoch=9, steps=self.steps, monitor=None)
        for epoch in range(1, 10):
            for step in range(1, self.steps + 1):
                self.model(torch.ones(self.rows, 4)).sum().backward()
                self.optimizer.step()
                self.clock.now += 3.0
                self.reporter.step(epoch=epoch, step=step, loss=1.0, rows=self.rows)
            self.clock.now += 50.0
            self.reporter.epoch(EpochResult(epoch, 1.0, 1.0, 1.0))


@pytest.mark.parametrize("count", [1, 2, 7])
def test_steps_are_timed_without_warm_up_and_validations(count: int, clock: Clock) -> None:
    model = nn.Linear(4, 7, bias=False)
    cost = measure_steps(
        Loop(model, clock, steps=count), model, None, warm_up=1, steps=3, seconds=0
    )  # type: ignore[arg-type]
    assert cost.seconds == [3.0, 3.0, 3.0]
    assert cost.steps_per_epoch == count


def test_the_share_of_a_core_is_of_the_timed_steps(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps.time, "process_time", lambda: clock.now / 4)
    model = nn.Linear(4, 7, bias=False)
    cost = measure_steps(Loop(model, clock), model, None, warm_up=1, steps=3, seconds=0)  # type: ignore[arg-type]
    assert cost.cores == pytest.approx(0.25)


def test_steps_go_on_for_the_seconds_asked(clock: Clock) -> None:
    model = nn.Linear(4, 7, bias=False)
    cost = measure_steps(Loop(model, clock), model, None, warm_up=2, steps=1, seconds=120.0)  # type: ignore[arg-type]
    # An epoch takes 56 s: since the warm-up two are too short, so the fifth step is the last.
    assert cost.seconds == [3.0] * 5


def test_bytes_are_those_of_the_tensors(clock: Clock) -> None:
    model = nn.Linear(4, 7, bias=False)
    cost = measure_steps(Loop(model, clock), model, None, warm_up=1, steps=1, seconds=0)  # type: ignore[arg-type]
    assert cost.activations == 5 * 4 * 4  # the input
    assert cost.gradients == weight_bytes(model) == 4 * 7 * 4
    assert cost.state == 2 * 4 * 7 * 4 + 4  # both moments and the step count


def test_outputs_kept_for_the_gradient_count_and_are_freed(clock: Clock) -> None:
    model = nn.Sequential(nn.Linear(4, 7, bias=False), nn.Sigmoid())
    cost = measure_steps(Loop(model, clock), model, None, warm_up=2, steps=1, seconds=0)  # type: ignore[arg-type]
    assert cost.activations == 5 * 4 * 4 + 5 * 7 * 4


def test_weights_kept_for_the_gradient_are_no_activations(clock: Clock) -> None:
    model = nn.Sequential(nn.Linear(4, 7, bias=False), nn.Linear(7, 3, bias=False))
    cost = measure_steps(Loop(model, clock), model, None, warm_up=1, steps=1, seconds=0)  # type: ignore[arg-type]
    assert cost.activations == 5 * 4 * 4 + 5 * 7 * 4


@pytest.mark.parametrize(
    ("name", "factor"),
    [("adam", 2), ("adagrad", 1), ("sgd", 0), ("lazy_adam", 2), ("rowwise_adagrad", 1 / 64)],
)
def test_state_factor(name: str, factor: float) -> None:
    assert state_factor({"name": name, "lr": 0.1}) == pytest.approx(factor, abs=1e-3)


def test_the_memory_limit_is_the_smaller_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("cgroup")
    (folder / "limit").write_text("12345\n")
    (folder / "none").write_text("max\n")
    files = (folder / "none", folder / "limit", folder / "absent")
    monkeypatch.setattr("rechub_cli.cost.memory.CGROUP_LIMITS", files)
    assert memory_limit(torch.device("cpu")) == 12345
    monkeypatch.setattr("rechub_cli.cost.memory.CGROUP_LIMITS", files[:1])
    assert memory_limit(torch.device("cpu")) > 2**28


def ranking(clock: Clock) -> Callable[[MatchData, str], None]:
    """Takes 2 s, and half a second a query."""

    def measure(data: MatchData, split: str) -> None:
        queries = data.queries(split)
        assert len(set(queries.user)) == len(queries)
        clock.now += 2.0 + 0.5 * len(queries)

    return measure


@pytest.mark.parametrize("fewer", ["valid", "test", None])
@pytest.mark.parametrize("rows", [1, 7, 10_000])
def test_a_ranking_is_scaled_from_a_block(
    rows: int, fewer: str | None, clock: Clock, demo: MatchData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "block_rows", lambda num_items: rows)
    if fewer is not None:
        demo = copy.copy(demo)
        demo.split = replace(demo.split, **{fewer: demo.queries(fewer).spread(3)})
    before = demo.split
    cost = ranking_cost(ranking(clock), demo)
    assert cost.seconds(0) == 0.0
    for queries in (1, 100, 5000):
        assert cost.seconds(queries) == pytest.approx(2.0 + 0.5 * queries)
    assert demo.split is before


@pytest.mark.parametrize("name", ["train_loader", "window_loader"])
def test_batches_are_spread_over_their_lengths(name: str, demo: MatchData) -> None:
    def means(data: MatchData) -> list[float]:
        batches = getattr(data, name)(batch_size=4, seed=0).epoch(1)
        return [float(batch.features["history_length"].float().mean()) for batch in batches]

    found, before = means(spread_batches(demo)), means(demo)
    assert found == [sorted(before)[place] for place in golden_walk(len(before)).tolist()]
    assert found != before
