"""Seconds and bytes of real training steps, and of one evaluation block."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from rechub_cli.data.dataset import MatchData
from rechub_cli.evaluation.ranking import block_rows
from rechub_cli.trainers.match_trainer import MatchTrainer
from rechub_cli.trainers.reporter import EpochResult, Reporter

WARM_UP, STEPS, SECONDS = 5, 20, 2.0
"""Steps before the clock starts; then at least so many are timed, and for at least so long."""


@dataclass
class StepCost:
    """What steps cost. seconds: one a timed step. steps_per_epoch: batches. cores: how
    many cores' time the process had meanwhile; below 1 on a busy machine.

    activations: bytes that the largest warm-up step kept for its gradient, the batch's own among
    them. gradients, state: bytes after an optimizer step.
    """

    steps_per_epoch: int = 0
    seconds: list[float] = field(default_factory=list)
    cores: float = 0.0
    activations: int = 0
    gradients: int = 0
    state: int = 0


class _Enough(Exception):  # noqa: N818 - a signal, no error
    """The meter has seen what it wanted: ends the training loop."""


class _Meter(Reporter):
    def __init__(self, model: nn.Module, *, warm_up: int, steps: int, seconds: float) -> None:
        self.warm_up, self.steps, self.enough_seconds = warm_up, steps, seconds
        self.cost = StepCost()
        self.seen = 0
        self.last = self.timed_since = self.processor_since = 0.0
        self.own = {p.untyped_storage().data_ptr() for p in model.parameters()}
        self.kept: dict[int, int] = {}
        self.hooks = ExitStack()

    def start(self, *, n_epoch: int, steps: int | None, monitor: str | None) -> None:
        self.cost.steps_per_epoch = steps or 0
        self.hooks.enter_context(
            torch.autograd.graph.saved_tensors_hooks(self._keep, lambda tensor: tensor)
        )

    def _keep(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.own:
            self.kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # an output that kept itself would never be freed

    def step(self, *, epoch: int, step: int, loss: float, rows: int) -> None:
        now = time.perf_counter()
        self.seen += 1
        self.cost.activations = max(self.cost.activations, sum(self.kept.values()))
        self.kept.clear()
        if self.seen == self.warm_up:
            self.hooks.close()
            self.processor_since = time.process_time()
            now = self.timed_since = time.perf_counter()
        elif self.seen > self.warm_up:
            self.cost.seconds.append(now - self.last)
        self.last = now
        if len(self.cost.seconds) >= self.steps and now - self.timed_since >= self.enough_seconds:
            had = time.process_time() - self.processor_since
            self.cost.cores = had / max(now - self.timed_since, 1e-9)
            raise _Enough

    def epoch(self, result: EpochResult) -> None:
        self.last = time.perf_counter()  # a validation is no part of the next step


def measure_steps(
    make_trainer: Callable[[Reporter], MatchTrainer],
    model: nn.Module,
    data: MatchData,
    *,
    warm_up: int = WARM_UP,
    steps: int = STEPS,
    seconds: float = SECONDS,
) -> StepCost:
    """Run real steps of the training loop, the first ``warm_up`` >= 1 of them untimed.

    make_trainer: the trainer of ``model`` that reports to the given reporter; its n_epoch must
    last for all steps.
    """
    meter = _Meter(model, warm_up=warm_up, steps=steps, seconds=seconds)
    with _optimizer_bytes(meter.cost), meter.hooks:
        try:
            make_trainer(meter).fit(data)
        except _Enough:
            return meter.cost
    raise AssertionError("training ended before enough steps were seen")


def spread_batches(data: MatchData) -> MatchData:
    """The same data; the first training batches, however many, are of all lengths alike.

    The mean over 20 random ones may be off by a fifth, as a step's cost follows its lengths.
    """

    def spread(make: Callable[..., Any]) -> Callable[..., Any]:
        def made(**options: Any) -> Any:
            loader = make(**options)
            loader.spread = True
            return loader

        return made

    same = copy.copy(data)
    for name in ("train_loader", "window_loader"):
        setattr(same, name, spread(getattr(data, name)))
    return same


@contextmanager
def _optimizer_bytes(cost: StepCost) -> Iterator[None]:
    """Note what the optimizers that step inside hold; gradients as they come, sparse or dense."""

    def before(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        grads = [p.grad for g in optimizer.param_groups for p in g["params"] if p.grad is not None]
        cost.gradients = max(cost.gradients, sum(map(_bytes, grads)))

    def after(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        cost.state = state_bytes(optimizer)

    handles = (
        register_optimizer_step_pre_hook(before),
        register_optimizer_step_post_hook(after),
    )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def state_bytes(optimizer: torch.optim.Optimizer) -> int:
    """Bytes of an optimizer's tensors beside the weights."""
    return sum(
        _bytes(value)
        for state in optimizer.state.values()
        for value in state.values()
        if isinstance(value, Tensor)
    )


def _bytes(tensor: Tensor) -> int:
    if tensor.is_sparse:
        return _bytes(tensor._indices()) + _bytes(tensor._values())
    return tensor.numel() * tensor.element_size()


@dataclass(frozen=True)
class RankingCost:
    """Seconds of ranking: of the first query, and of each further one."""

    first: float
    each: float

    def seconds(self, queries: int) -> float:
        return self.first + self.each * (queries - 1) if queries else 0.0


def ranking_cost(measure: Callable[[MatchData, str], object], data: MatchData) -> RankingCost:
    """From one query and one block of them.

    measure: ranks the queries that the data which it is handed have of the split that it is told.
    """
    valid, test = len(data.split.valid), len(data.split.test)
    split = "valid" if valid >= test else "test"
    block = min(max(valid, test), max(2, block_rows(len(data.catalogue))))

    def seconds(queries: int) -> float:
        few = data.with_fewer_queries(queries)
        start = time.perf_counter()
        measure(few, split)
        return time.perf_counter() - start

    seconds(1)  # warm-up
    alone = seconds(1)
    if block <= 1:
        return RankingCost(alone, 0.0)
    return RankingCost(alone, max(seconds(block) - alone, 0.0) / (block - 1))
