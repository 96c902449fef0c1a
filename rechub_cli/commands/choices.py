"""What of training follows from the data."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from rechub_cli.config.trainer_schema import TrainerUnion
from rechub_cli.data.dataset import MatchData
from rechub_cli.models.matching.base import MatchingModel
from rechub_cli.models.matching.causal import CausalModel
from rechub_cli.trainers.loading import training_samples
from rechub_cli.trainers.options import (
    NegativeOptions,
    choose_optimizer,
    choose_sampler,
    most_validated,
)


def chosen_optimizer(data: MatchData, options: TrainerUnion) -> dict[str, Any]:
    """The run's optimizer_params, whose name is no longer auto."""
    return choose_optimizer(
        options.optimizer_params.model_dump(),
        NegativeOptions(**options.negatives.model_dump()),
        num_items=len(data.trained_items),
        clip_norm=options.clip_norm,
    )


def print_choices(
    console: Console, data: MatchData, model: MatchingModel, options: TrainerUnion
) -> None:
    """Say what is not as it would be for smaller data, and which samples a causal model reads."""
    num_items = len(data.trained_items)
    negatives = NegativeOptions(**options.negatives.model_dump())
    chosen = choose_sampler(negatives, num_items=num_items)
    if negatives.sampler == "auto" and chosen.sampler != "full":
        console.print(
            f"negatives: {chosen.num_negatives:,} {chosen.sampler} ones a step, of {num_items:,} "
            "items; trainer.negatives.sampler=full compares with all of them, and takes longer"
        )
    optimizer = chosen_optimizer(data, options)["name"]
    if optimizer not in (options.optimizer_params.name, "adam"):
        console.print(
            f"optimizer: {optimizer}, which leaves items alone that a step does not look up; "
            f"trainer.optimizer_params.name=adam updates all {num_items:,} at every step"
        )
    asked, most = len(data.split.valid), most_validated(options.valid_queries)
    if asked > most:
        console.print(
            f"validation: {most:,} of {asked:,} queries pick the best epoch, and the final figures "
            "are of all; trainer.valid_queries sets how many"
        )
    if not isinstance(model, CausalModel):
        return
    if training_samples(data, model, options.samples) == "windows":
        console.print("samples: windows, every position a target")
    else:
        console.print(
            f"samples: prefixes, a row a target, with {data.mean_history:,.0f} items before it "
            "on average"
        )
