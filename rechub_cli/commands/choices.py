"""What of training follows from the data and the machine."""

from __future__ import annotations

from typing import Any

import torch
from rich.console import Console

from rechub_cli.config.trainer_schema import TrainerUnion
from rechub_cli.data.dataset import MatchData
from rechub_cli.models.matching.base import MatchingModel
from rechub_cli.models.matching.causal import CausalModel
from rechub_cli.trainers.loading import batch_rows, training_samples
from rechub_cli.trainers.options import (
    NegativeOptions,
    choose_optimizer,
    choose_sampler,
    most_validated,
)
from rechub_cli.trainers.rules import choose_schedule


def chosen_optimizer(
    data: MatchData, options: TrainerUnion, device: torch.device
) -> dict[str, Any]:
    """The run's optimizer_params, whose name is no longer auto."""
    return choose_optimizer(
        options.optimizer_params.model_dump(),
        NegativeOptions(**options.negatives.model_dump()),
        num_items=len(data.trained_items),
        clip_norm=options.clip_norm,
        on_cpu=device.type == "cpu",
    )


def choices(
    data: MatchData, model: MatchingModel, options: TrainerUnion, device: torch.device
) -> dict[str, Any]:
    """What auto and null of the group ``trainer`` stand for in this run, as run.json has it."""
    causal = isinstance(model, CausalModel)
    negatives = choose_sampler(
        NegativeOptions(**options.negatives.model_dump()), num_items=len(data.trained_items)
    )
    return {
        "sampler": negatives.sampler,
        "num_negatives": negatives.num_negatives,
        "schedule": choose_schedule(options.schedule.name, n_epoch=options.n_epoch),
        "optimizer": chosen_optimizer(data, options, device)["name"],
        "device": device.type,
        "samples": training_samples(data, model, options.samples) if causal else None,
        "batch_size": batch_rows(data, model, options.batch_size, options.samples),
        "valid_queries": min(len(data.split.valid), most_validated(options.valid_queries)),
    }


def print_choices(
    console: Console, data: MatchData, options: TrainerUnion, chosen: dict[str, Any]
) -> None:
    """Say what is not as it would be for smaller data, and which samples a causal model reads.

    chosen: of ``choices``.
    """
    num_items, asked = len(data.trained_items), len(data.split.valid)
    if options.negatives.sampler == "auto" and chosen["sampler"] != "full":
        console.print(
            f"negatives: a step's targets and {chosen['num_negatives']:,} uniform ones, of "
            f"{num_items:,} items; trainer.negatives.sampler=full compares with all of them, and "
            "takes longer"
        )
    if chosen["optimizer"] not in (options.optimizer_params.name, "adam"):
        console.print(
            f"optimizer: {chosen['optimizer']}, which leaves items alone that a step does not look "
            f"up; trainer.optimizer_params.name=adam updates all {num_items:,} at every step"
        )
    if chosen["valid_queries"] < asked:
        console.print(
            f"validation: {chosen['valid_queries']:,} of {asked:,} queries pick the best epoch, "
            "and the final figures are of all; trainer.valid_queries sets how many"
        )
    if chosen["samples"] == "windows":
        console.print("samples: windows, every position a target")
    elif chosen["samples"] == "prefixes":
        console.print(
            f"samples: prefixes, a row a target, with {data.mean_history:,.0f} items before it "
            "on average"
        )
