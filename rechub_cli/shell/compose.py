"""Hydra around a verb: compose and sweep."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from rechub_cli.config.locate import conf_dir
from rechub_cli.config.node import Node
from rechub_cli.config.origin import Origin
from rechub_cli.config.resolve import resolve
from rechub_cli.errors import ConfigError, RechubError
from rechub_cli.shell.arguments import Arguments
from rechub_cli.shell.diagnose import REFUSALS, diagnose, origin_of, plain

Command = Callable[[Any, Path, Origin], None]


@dataclass
class Outcome:
    """What became of the points that ran: overrides, run folder, error (None: done)."""

    points: list[tuple[str, Path, Exception | None]] = field(default_factory=list)
    sweep_dirs: set[Path] = field(default_factory=set)

    @property
    def failed(self) -> list[tuple[str, Path, Exception]]:
        return [(o, d, e) for o, d, e in self.points if e is not None]


def run_verb(
    arguments: Arguments, *, root: str, schema: type[Node], command: Command, outcome: Outcome
) -> None:
    """Compose ``root`` under the arguments and hand each resolved point to ``command``.

    Raises ConfigError with all problems of a config; in a sweep all points run first.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions reach us, untouched
    task = _task(schema, command, outcome)
    sys.argv = ["rechub", *arguments.flags, *arguments.overrides]
    name = arguments.value("--config-name", "-cn") or root
    if arguments.sweep:  # Hydra makes the folder of a sweep before it looks at the points
        refuse(diagnose(arguments, root=name, schema=schema))
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=root)(task)()
    except REFUSALS as error:
        if outcome.points:
            raise
        refuse(diagnose(arguments, root=name, schema=schema))
        raise ConfigError(str(error)) from None
    if not outcome.sweep_dirs and outcome.failed:
        raise outcome.failed[0][2]


def refuse(error: ConfigError | None) -> None:
    """Raise the error, where there is one."""
    if error is not None:
        raise error from None


def _task(schema: type[Node], command: Command, outcome: Outcome) -> Callable[[DictConfig], None]:
    def task(cfg: DictConfig) -> None:
        settings = HydraConfig.get()
        run_dir = Path(settings.runtime.output_dir)
        typed = OmegaConf.to_container(settings.overrides.task, resolve=False)
        overrides = list(map(str, typed)) if isinstance(typed, list) else []
        origin = origin_of(settings, overrides)
        if settings.mode == RunMode.MULTIRUN:
            outcome.sweep_dirs.add(Path(settings.sweep.dir).absolute())
        error: Exception | None = None
        try:
            config = resolve(schema, plain(cfg), origin=origin)
            command(config, run_dir, origin)
        except Exception as caught:
            error = caught
        outcome.points.append((" ".join(overrides), run_dir, error))
        if error is None:
            return
        if settings.mode == RunMode.MULTIRUN and isinstance(error, RechubError):
            sys.stderr.write(f"failed: {' '.join(overrides)}\n{error}\n")
        if "BasicLauncher" not in settings.launcher.get("_target_", ""):
            raise error  # another process: the outcome here cannot see it

    return task
