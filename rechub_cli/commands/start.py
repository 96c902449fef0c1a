"""The verbs that take a composed config: root file, schema, and what runs.

Commands are imported when they start, after the first line is out: torch takes seconds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rechub_cli._version import __version__
from rechub_cli.config.node import Node
from rechub_cli.config.origin import Origin
from rechub_cli.config.resolve import with_absolute_paths
from rechub_cli.config.schema import EvaluateConfig, ExportRunConfig, RunConfig


def say(text: str) -> None:
    print(f"rechub {__version__}  {text}", file=sys.stderr, flush=True)


def train(config: RunConfig, run_dir: Path, origin: Origin) -> None:
    recipe = f"recipe={origin.recipe.stem} " if origin.recipe else ""
    say(
        f"train  {recipe}model={config.model.name} data={config.data.name} "
        f"trainer={config.trainer.mode} seed={config.seed} -> {run_dir}"
    )
    from rechub_cli.commands import train as command

    command.run(
        with_absolute_paths(config), run_dir, overrides=origin.overrides, recipe=origin.recipe
    )


def check(config: RunConfig, run_dir: Path, origin: Origin) -> None:
    say(f"check  data={config.data.name}")
    from rechub_cli.commands import check as command

    command.run(with_absolute_paths(config))


def estimate(config: RunConfig, run_dir: Path, origin: Origin) -> None:
    say(
        f"estimate  model={config.model.name} data={config.data.name} trainer={config.trainer.mode}"
    )
    from rechub_cli.commands import estimate as command

    command.run(with_absolute_paths(config), run_dir)


def evaluate(config: EvaluateConfig, run_dir: Path, origin: Origin) -> None:
    say(f"evaluate  {config.run}")
    from rechub_cli.commands import evaluate as command

    command.run(config)


def export(config: ExportRunConfig, run_dir: Path, origin: Origin) -> None:
    say(f"export  {config.run}")
    from rechub_cli.commands import export as command

    command.run(config)


COMMANDS: dict[str, tuple[str, type[Node], Callable[[Any, Path, Origin], None]]] = {
    "train": ("train", RunConfig, train),
    "check": ("train", RunConfig, check),
    "estimate": ("train", RunConfig, estimate),
    "evaluate": ("evaluate_run", EvaluateConfig, evaluate),
    "export": ("export_run", ExportRunConfig, export),
}
