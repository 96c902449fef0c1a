"""The stages of every registered model's training: batch, forward, backward, optimizer."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from rechub_cli.commands.choices import chosen_optimizer
from rechub_cli.commands.train import make_trainer
from rechub_cli.config.schema import RunConfig
from rechub_cli.cost.steps import spread_batches
from rechub_cli.data.dataset import MatchData
from rechub_cli.evaluation.model_scores import evaluate_model
from rechub_cli.export.onnx import export_tower
from rechub_cli.models.matching.base import MatchingModel
from rechub_cli.registry import list_models
from rechub_cli.runs import make_model
from rechub_cli.trainers.optimizers import build_optimizer
from rechub_cli.trainers.reporter import Reporter
from rechub_cli.trainers.steps import catalogue_steps
from rechub_cli.trainers.towers import Towers
from tests.benchmarks.limits import copy_memory, matmul
from tests.benchmarks.record import Row
from tests.benchmarks.synthetic import films, shipped
from tests.benchmarks.timing import Seconds, clock, interleave, now, row

STAGES = ("batch", "forward", "backward", "optimizer")
STEPS_A_ROUND, COUNTED_STEPS = 2, 10


class _TimedLoader:
    """A loader that notes the seconds of its batches."""

    def __init__(self, loader: Any) -> None:
        self.loader, self.seconds = loader, 0.0

    def __len__(self) -> int:
        return len(self.loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def epoch(self, epoch: int) -> Iterator[Any]:
        batches = self.loader.epoch(epoch)
        while True:
            start = now()
            batch = next(batches, None)
            self.seconds += now() - start
            if batch is None:
                return
            yield batch


class StagedTraining:
    """The trainer's steps of one config, taken apart."""

    def __init__(self, config: RunConfig, data: MatchData) -> None:
        self.data, self.model = data, make_model(config, data)
        trainer = make_trainer(config, self.model, run_dir=None, reporter=Reporter())
        assert trainer.negatives is not None
        self.optimizer = build_optimizer(
            self.model, chosen_optimizer(data, config.trainer, trainer.device)
        )
        self.steps = catalogue_steps(
            self._with_timed_loaders(),
            Towers(self.model, trainer.step_options),
            loss=trainer.loss,
            negatives=trainer.negatives,
            batch_size=trainer.batch_size,
            device=trainer.device,
            seed=trainer.seed,
            samples=trainer.samples,
            mask_seen=trainer.mask_seen,
        )
        self.losses = self._endless()
        self.rows = 0

    def _with_timed_loaders(self) -> MatchData:
        data = copy.copy(self.data)
        for name in ("train_loader", "window_loader"):
            setattr(data, name, self._timed(getattr(data, name)))
        return data

    def _timed(self, make: Callable[..., Any]) -> Callable[..., _TimedLoader]:
        def made(**options: Any) -> _TimedLoader:
            self.loader = _TimedLoader(make(**options))
            return self.loader

        return made

    def _endless(self) -> Iterator[tuple[Tensor, int]]:
        epoch = 0
        while True:
            epoch += 1
            yield from self.steps.losses(epoch)

    def step(self) -> dict[str, float]:
        """One training step: the seconds of each stage."""
        if not self.model.training:  # the trainer's loop says it once an epoch
            self.model.train()
        before, marks = self.loader.seconds, [now()]
        loss, self.rows = next(self.losses)
        loss.item()
        marks.append(now())
        loss.backward()
        marks.append(now())
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        marks.append(now())
        batch = self.loader.seconds - before
        ahead, backward, optimizer = (b - a for a, b in zip(marks, marks[1:], strict=False))
        return dict(zip(STAGES, (batch, ahead - batch, backward, optimizer), strict=True))

    def flops(self) -> float:
        """Operations of the matrix products of a step, a mean: steps differ by their histories."""
        in_place: dict[Any, Any] = {torch.ops.aten.addmm_: _product_flops}  # of addmm it knows
        with FlopCounterMode(display=False, custom_mapping=in_place) as counter:
            for _ in range(COUNTED_STEPS):
                next(self.losses)[0].backward()
        self.optimizer.zero_grad(set_to_none=True)
        return counter.get_total_flops() / COUNTED_STEPS


def _product_flops(_: object, left: Any, right: Any, **__: object) -> int:
    return 2 * int(left[0]) * int(left[1]) * int(right[1])


def training_stages(rounds: int) -> list[Row]:
    """Each stage against a bare matmul and a memory copy of fixed size; batches against steps."""
    trainings = {
        e.name: StagedTraining(shipped(f"model={e.name}"), spread_batches(films()))
        for e in list_models()
    }
    rows = []
    for training in trainings.values():
        training.step()  # warm-up
    found = {name: _rounds(training, rounds) for name, training in trainings.items()}
    for name, seconds in found.items():
        size = trainings[name].rows
        for stage, limit in zip(STAGES, ("copy", "matmul", "matmul", "copy"), strict=True):
            rows.append(row(f"{name}/{stage}", seconds[stage], limit, seconds[limit]))
        whole = seconds["step"]
        rows.append(
            row(f"{name}/step", whole, "matmul", seconds["matmul"], work=size, unit="targets")
        )
        share = row(f"{name}/batch share", seconds["batch"], "step", whole, target=0.05)
        rows += [share, _peak_share(name, trainings[name], seconds)]
    return rows


def _rounds(training: StagedTraining, rounds: int) -> Seconds:
    found: Seconds = {name: [] for name in (*STAGES, "step", "matmul", "copy")}
    for _ in range(rounds):
        found["matmul"].append(clock(matmul))
        found["copy"].append(clock(copy_memory))
        steps = [training.step() for _ in range(STEPS_A_ROUND)]
        for stage in STAGES:
            found[stage].append(sum(step[stage] for step in steps) / STEPS_A_ROUND)
        found["step"].append(sum(sum(step.values()) for step in steps) / STEPS_A_ROUND)
    return found


def _peak_share(name: str, training: StagedTraining, seconds: Seconds) -> Row:
    """A step against its own matrix products at the speed of the bare one."""
    part = training.flops() / matmul.flops
    ideal = [part * second for second in seconds["matmul"]]
    return row(f"{name}/step per peak", seconds["step"], "its products bare", ideal, target=2.0)


def evaluation(rounds: int) -> list[Row]:
    """Exact ranking of every model over the catalogue, against a bare matmul of fixed size."""
    rows = []
    for entry in list_models():
        data = films(num_users=500, num_events=75_000)
        model = make_model(shipped(f"model={entry.name}"), data)
        seconds = interleave(
            {"own": partial(_evaluate, model, data), "matmul": matmul}, rounds=rounds
        )
        rows.append(
            row(
                f"{entry.name}/evaluation",
                seconds["own"],
                "matmul",
                seconds["matmul"],
                work=len(data.split.valid),
                unit="queries",
            )
        )
    return rows


def _evaluate(model: MatchingModel, data: MatchData) -> None:
    evaluate_model(model, data, split="valid", top_k=(10, 50))


def export(rounds: int) -> list[Row]:
    """Both ONNX towers of every model, once: seconds, where noise is small."""
    rows = []
    for entry in list_models():
        data = films(num_users=200, num_items=300, num_events=6_000)
        model = make_model(shipped(f"model={entry.name}"), data).eval()
        seconds = clock(partial(_export_both, model))
        limit = [sum(clock(matmul) for _ in range(10)) / 10]
        rows.append(row(f"{entry.name}/export", [seconds], "matmul", limit))
    return rows


def _export_both(model: MatchingModel) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for tower in ("user", "item"):
            export_tower(model, Path(folder) / f"{tower}.onnx", tower=tower)
