"""``rechub estimate``: what a run will take, from real steps of it. Nothing is written."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import torch
from rich.console import Console
from rich.table import Table

from rechub_cli.commands.choices import choices, chosen_optimizer, print_choices
from rechub_cli.commands.printout import print_data
from rechub_cli.commands.train import make_trainer
from rechub_cli.config.model_schema import hidden_widths
from rechub_cli.config.schema import RunConfig, TowersExport
from rechub_cli.cost.memory import (
    memory_limit,
    peak_bytes,
    smaller_weights,
    state_factor,
    weight_bytes,
)
from rechub_cli.cost.steps import (
    SECONDS,
    STEPS,
    WARM_UP,
    StepCost,
    measure_steps,
    ranking_cost,
    spread_batches,
)
from rechub_cli.data.dataset import MatchData
from rechub_cli.errors import GateError
from rechub_cli.evaluation.compare import baseline_metrics
from rechub_cli.evaluation.model_scores import evaluate_model
from rechub_cli.export.bundle import export_towers
from rechub_cli.fingerprint import fingerprint
from rechub_cli.models.matching.base import MatchingModel
from rechub_cli.progress import duration, result_console
from rechub_cli.runs import load_data, make_model
from rechub_cli.trainers.device import pick_device
from rechub_cli.trainers.loading import batch_rows
from rechub_cli.trainers.options import StepOptions, most_validated
from rechub_cli.trainers.rules import ANNEAL, ANNEAL_EPOCHS, LAZY, choose_schedule

ENDLESS = 1_000_000
"""Epochs, so that the measuring decides when the loop ends."""
PROBE = 16
"""The first steps are tried on this part of a batch, in case the whole one does not fit."""
BUSY = 0.8
"""Less of one core than this, and the seconds say more of other jobs than of the run."""
GIB = 2**30


@dataclass(frozen=True)
class Seconds:
    """load: of reading. validation: an epoch's. final: of ranking both splits. Others by name."""

    load: float
    validation: float
    final: float
    baselines: float
    export: float


def run(config: RunConfig, scratch: Path) -> None:
    """Measure and print parameters, memory and time. scratch: a folder that will be removed.

    Raises GateError, with the setting that would help, where the run would not fit in memory.
    """
    console = result_console()
    options = config.trainer
    device = pick_device(options.device, StepOptions(options.precision, options.compile))
    torch.set_num_threads(options.threads)
    start = time.perf_counter()
    data, _ = load_data(config)
    load = time.perf_counter() - start
    print_data(console, data, mask_seen=config.evaluation.mask_seen)
    check_tables(config, data, device)
    model = make_model(config, data)
    chosen = choices(data, model, options, device)
    print_choices(console, data, options, chosen)
    check_batch(config, model, data, device)
    cost = step_cost(config, model, data)
    seconds = other_seconds(config, model, data, scratch, load=load)
    limit, optimizer = memory_limit(device), chosen["optimizer"]
    print_estimate(console, config, model, cost, seconds, limit=limit, optimizer=optimizer)


def check_tables(config: RunConfig, data: MatchData, device: torch.device) -> None:
    """Refuse weights that cannot be trained here before they are made."""
    with torch.device("meta"):
        model = make_model(config, data)
    weights, params = weight_bytes(model), chosen_optimizer(data, config.trainer, device)
    copies = 2 if params["name"] in LAZY else 3  # the weights, the best epoch's, the gradient
    factor = copies + state_factor(params)
    room = memory_limit(device) - (0 if device.type == "cuda" else peak_bytes())
    if factor * weights <= room:
        return
    hidden = hidden_widths(config.model)
    raise GateError(
        f"the run would not fit: weights of {_size(weights)}, with gradients, {params['name']}'s "
        f"state and the best epoch's copy {_size(factor * weights)}, and {_size(room)} are left. "
        + smaller_weights(model, room / factor, width=config.model.embed_dim, hidden=hidden)
    )


def check_batch(
    config: RunConfig, model: MatchingModel, data: MatchData, device: torch.device
) -> None:
    """Refuse a batch that cannot be held, judged by a small part of one."""
    size = batch_rows(data, model, config.trainer.batch_size, config.trainer.samples)
    size = min(size, int(data.train_counts.sum()))
    if size < PROBE:
        return
    probe = step_cost(config, model, data, batch_size=size // PROBE, steps=1, seconds=0.0)
    room = memory_limit(device) - probe.state
    room -= torch.cuda.memory_allocated(device) if device.type == "cuda" else peak_bytes()
    rows = min(size, probe.steps_per_epoch * (size // PROBE))  # of windows there are fewer yet
    needed = probe.activations * rows / (size // PROBE)
    if needed <= room:
        return
    fits = max(1, int(rows * room / needed))
    raise GateError(
        f"the run would not fit: a batch of {rows:,} rows keeps about {_size(needed)} for its "
        f"gradient, and {_size(room)} are left. About trainer.batch_size={fits} would fit (with "
        f"trainer.accumulate={-(-rows // fits)} the step is as large)"
    )


def step_cost(
    config: RunConfig,
    model: MatchingModel,
    data: MatchData,
    *,
    batch_size: int | None = None,
    steps: int = STEPS,
    seconds: float | None = None,
) -> StepCost:
    """Seconds and bytes of steps of the config's own loop. batch_size: None: the config's."""
    options = config.trainer
    changes = {"n_epoch": ENDLESS, "patience": None, "batch_size": batch_size or options.batch_size}
    endless = config.model_copy(update={"trainer": options.model_copy(update=changes)})
    return measure_steps(
        lambda reporter: make_trainer(endless, model, run_dir=None, reporter=reporter),
        model,
        spread_batches(data),
        warm_up=max(WARM_UP, options.accumulate),
        steps=max(steps, options.accumulate),
        seconds=SECONDS if seconds is None else seconds,
    )


def other_seconds(
    config: RunConfig, model: MatchingModel, data: MatchData, scratch: Path, *, load: float
) -> Seconds:
    """Seconds beside the steps: rankings by one block of them, the export as it is."""
    top_k, mask = config.evaluation.top_k, config.evaluation.mask_seen
    valid, test = len(data.split.valid), len(data.split.test)
    asked = min(valid, most_validated(config.trainer.valid_queries))
    model_cost = ranking_cost(
        lambda few, split: evaluate_model(model, few, split=split, top_k=top_k, mask_seen=mask),
        data,
    )
    baselines = ranking_cost(
        lambda few, split: baseline_metrics(few, top_k=top_k, mask_seen=mask, splits=[split]), data
    )
    start = time.perf_counter()
    if isinstance(config.export, TowersExport):
        marks = fingerprint(config, data)
        # The towers are hardly trained: it is the time that counts, not the gate.
        export_towers(
            model, data, scratch / "export", marks=marks, tolerance=math.inf, min_overlap=0.0
        )
    return Seconds(
        load,
        model_cost.seconds(asked),
        model_cost.seconds(valid) + model_cost.seconds(test),
        baselines.seconds(valid + test),
        time.perf_counter() - start,
    )


def print_estimate(
    console: Console,
    config: RunConfig,
    model: MatchingModel,
    cost: StepCost,
    seconds: Seconds,
    *,
    limit: int,
    optimizer: str,
) -> None:
    """The table: parameters, memory, time of a step, an epoch and the run."""
    options = config.trainer
    step, peak = mean(cost.seconds), peak_bytes(next(model.parameters()).device)
    epoch = cost.steps_per_epoch * step + seconds.validation
    rest = seconds.load + seconds.final + seconds.baselines + seconds.export
    schedule = choose_schedule(options.schedule.name, n_epoch=options.n_epoch)
    table = Table(box=None, show_header=False, pad_edge=False)
    rows = (
        ("parameters", f"{sum(p.numel() for p in model.parameters()):,}"),
        ("weights", _size(weight_bytes(model))),
        (f"optimizer state ({optimizer})", _size(cost.state)),
        ("gradients", _size(cost.gradients)),
        ("activations and batch", f"{_size(cost.activations)} kept for the gradient, at most"),
        ("memory at its peak", f"{_size(peak)}; there are {_size(limit)}"),
        ("a step", f"{duration(step)}, mean of {len(cost.seconds)}"),
        ("a validation", duration(seconds.validation)),
        ("an epoch", f"{duration(epoch)}, {cost.steps_per_epoch:,} steps and a validation"),
        ("data, rankings, baselines, export", duration(rest)),
        (
            "the run",
            whole_run(
                epoch,
                rest,
                n_epoch=options.n_epoch,
                patience=options.patience,
                more=ANNEAL_EPOCHS if schedule == ANNEAL else 0,
            ),
        ),
    )
    for name, text in rows:
        table.add_row(name, text)
    console.print(table)
    if cost.cores < BUSY:
        console.print(
            f"note: other jobs left this process {cost.cores:.0%} of one core while the steps were "
            "timed; on a quiet machine the run is faster"
        )


def whole_run(
    epoch: float, rest: float, *, n_epoch: int, patience: int | None, more: int = 0
) -> str:
    """The run's time in words. epoch, rest: seconds; rest is what stands outside the epochs. more:
    epochs that follow once patience has ended."""
    most = f"{duration(n_epoch * epoch + rest)} for {n_epoch} epochs"
    if patience is None or patience + 1 + more >= n_epoch:
        return most
    least = duration((patience + 1 + more) * epoch + rest)
    return f"at most {most}; patience={patience} may end it from {least} on"


def _size(num_bytes: float) -> str:
    return f"{num_bytes / GIB:,.1f} GiB" if num_bytes >= GIB else f"{num_bytes / 2**20:,.1f} MiB"
