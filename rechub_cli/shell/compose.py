"""Hydra around a verb: compose, sweep, and say everything that is wrong at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rechub_cli.config.locate import conf_dir
from rechub_cli.config.node import Node
from rechub_cli.config.origin import GROUPS, Origin
from rechub_cli.config.resolve import Issue, find_issues, report, resolve
from rechub_cli.errors import ConfigError, RechubError
from rechub_cli.shell.arguments import Arguments
from rechub_cli.shell.options import options_of
from rechub_cli.suggest import did_you_mean

Command = Callable[[Any, Path, Origin], None]


@dataclass
class Outcome:
    """What became of the points that ran: overrides, run folder, error (None: done)."""

    points: list[tuple[str, Path, Exception | None]] = field(default_factory=list)

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
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=root)(task)()
    except (HydraException, OmegaConfBaseException) as error:
        if outcome.points:
            raise
        raise diagnose(arguments, root=name, schema=schema, cause=error) from None
    if not arguments.sweep and outcome.failed:
        raise outcome.failed[0][2]


def _task(schema: type[Node], command: Command, outcome: Outcome) -> Callable[[DictConfig], None]:
    def task(cfg: DictConfig) -> None:
        settings = HydraConfig.get()
        run_dir = Path(settings.runtime.output_dir)
        overrides = list(settings.overrides.task)
        origin = _origin(overrides, dict(settings.runtime.choices), settings)
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


def plain(cfg: DictConfig) -> dict[str, Any]:
    """Interpolations resolved, missing values kept as ``???``."""
    try:
        values = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=False)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key or 'config'}: {error.msg}") from None
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items() if key != "hydra"}


def _origin(overrides: list[str], choices: dict[str, Any], settings: Any) -> Origin:
    folders = [Path(s.path) for s in settings.runtime.config_sources if s.schema == "file"]
    files = {}
    for group in GROUPS:
        for folder in reversed(folders):
            file = folder / group / f"{choices.get(group)}.yaml"
            if file.is_file():
                files[group] = file
    return Origin(overrides, files, conf_dir() / "train.yaml")


def diagnose(
    arguments: Arguments, *, root: str, schema: type[Node], cause: Exception
) -> ConfigError:
    """All problems of overrides that Hydra refused, and of the config without them."""
    own = arguments.value("--config-dir", "-cd")
    if own is not None and not Path(own).is_dir():
        return ConfigError(f"--config-dir {own}: no such folder")
    base = [] if own is None else [f"hydra.searchpath=[file://{Path(own).resolve()}]"]
    issues: list[Issue] = []
    good: list[str] = []
    folder = None if own is None else Path(own)
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        composed = _compose(root, base)
        if isinstance(composed, Exception):
            return ConfigError(f"{root}: {_first_line(composed)}")
        for override in arguments.overrides:
            single = _first_point(override)
            attempt = _compose(root, [*base, *good, *single])
            if isinstance(attempt, Exception):
                issues.append(_override_issue(override, composed, attempt, folder))
            else:
                good += single
                composed = attempt
    try:
        values = plain(composed)
    except ConfigError as error:
        return error
    issues += find_issues(schema, values, origin=Origin(good, root=conf_dir() / f"{root}.yaml"))
    return report(issues) if issues else ConfigError(_first_line(cause))


def _compose(root: str, overrides: list[str]) -> DictConfig | Exception:
    try:
        return hydra.compose(root, overrides=overrides)
    except (HydraException, OmegaConfBaseException) as error:
        return error


def _first_point(override: str) -> list[str]:
    """The override, or the first value where it sweeps over several."""
    try:
        parsed = OverridesParser.create().parse_override(override)
    except HydraException:
        return [override]
    if not parsed.is_sweep_override():
        return [override]
    try:
        value = next(iter(parsed.sweep_string_iterator()))
    except (HydraException, StopIteration, TypeError):
        return [override]
    return [f"{override.split('=', 1)[0]}={value}"]


def _override_issue(
    override: str, composed: DictConfig, error: Exception, folder: Path | None
) -> Issue:
    key, _, value = override.partition("=")
    name = key.lstrip("+~")
    origin = f"override {override!r}"
    if name in GROUPS:
        allowed = {**options_of(name), **(options_of(name, folder) if folder else {})}
        text = f"no option {value!r}; allowed: {', '.join(allowed)}.{did_you_mean(value, allowed)}"
        return Issue(name, text, origin)
    if name.rsplit(".", 1)[-1] == "_target_":
        text = "is refused: a config names no Python object, only registered names"
        return Issue(name, text, origin)
    if isinstance(error, OverrideParseException):
        text = f"not readable as KEY=VALUE; quote a value with special characters: {key}='\"...\"'"
        return Issue(name, text, origin)
    known = [*GROUPS, *dotted_keys(plain(composed))]
    if name not in known:
        return Issue(name, f"no such key.{_near_key(name, known)}", origin)
    return Issue(name, _first_line(error), origin)


def _near_key(name: str, known: list[str]) -> str:
    near = did_you_mean(name, known)
    if near:
        return near
    leaf = name.rsplit(".", 1)[-1]
    same = [key for key in known if key.rsplit(".", 1)[-1] == leaf]
    return (
        f" Did you mean {same[0]!r}?"
        if same
        else did_you_mean(leaf, [key.rsplit(".", 1)[-1] for key in known])
    )


def dotted_keys(values: dict[str, Any], prefix: str = "") -> list[str]:
    """Every key of nested values, ``a``, ``a.b`` ..."""
    keys = []
    for key, value in values.items():
        keys.append(f"{prefix}{key}")
        if isinstance(value, dict):
            keys += dotted_keys(value, f"{prefix}{key}.")
    return keys


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
