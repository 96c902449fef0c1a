"""Overrides that Hydra refuses, and everything else that is wrong, in one report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rechub_cli.config.locate import conf_dir
from rechub_cli.config.node import Node
from rechub_cli.config.origin import Origin
from rechub_cli.config.resolve import Issue, find_issues, report
from rechub_cli.errors import ConfigError
from rechub_cli.shell.arguments import Arguments
from rechub_cli.shell.options import SELECTABLE, options_of
from rechub_cli.suggest import did_you_mean

# A ValueError is of a group that is given a number or null.
REFUSALS = (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError)


def plain(cfg: DictConfig) -> dict[str, Any]:
    """Interpolations resolved, missing values kept as ``???``."""
    own = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    try:
        values = OmegaConf.to_container(own, resolve=True, throw_on_missing=False)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key or 'config'}: {_first_line(error)}") from None
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def origin_of(settings: Any, overrides: Sequence[str]) -> Origin:
    """Where values come from. settings: the ``hydra`` node of a composed config."""
    folders = [Path(s.path) for s in settings.runtime.config_sources if s.schema == "file"]
    files = {}
    for group in SELECTABLE:
        for folder in reversed(folders):
            file = folder / group / f"{settings.runtime.choices.get(group)}.yaml"
            if file.is_file():
                files[group] = file
    roots = [f / f"{name}.yaml" for name in (settings.job.config_name, "train") for f in folders]
    recipe = files.pop("recipe", None)
    return Origin(overrides, files, [root for root in roots if root.is_file()], recipe)


def diagnose(arguments: Arguments, *, root: str, schema: type[Node]) -> ConfigError | None:
    """All problems of overrides that Hydra refuses, and of the config without them; None where
    it refuses none. A sweep's values are tried one by one."""
    own = arguments.value("--config-dir", "-cd")
    if own is not None and not Path(own).is_dir():
        return ConfigError(f"--config-dir {own}: no such folder")
    folder = None if own is None else Path(own).resolve()
    good = [] if folder is None else [f"hydra.searchpath=[file://{folder}]"]
    issues: list[Issue] = []
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        composed = _compose(root, good)
        if isinstance(composed, Exception):
            return ConfigError(f"--config-name {root}: {_first_line(composed)}")
        # A group's choice says which keys there are, wherever it stands among the words.
        for override in sorted(arguments.overrides, key=lambda word: not _chooses(word)):
            points = _points(override)
            if points != [override] and not arguments.sweep:
                issues.append(_several(override))
            attempts = {point: _compose(root, [*good, point]) for point in points}
            fine = {p: c for p, c in attempts.items() if not isinstance(c, Exception)}
            issues += [
                _override_issue(point, composed, attempt, folder)
                for point, attempt in attempts.items()
                if isinstance(attempt, Exception)
            ]
            if fine:
                point, composed = next(iter(fine.items()))
                good.append(point)
    if not issues:
        return None
    named = {issue.key for issue in issues}
    try:
        found = find_issues(schema, plain(composed), origin=origin_of(composed.hydra, good))
    except ConfigError as error:
        found = [Issue(*str(error).split(": ", 1))]
    return report([*issues, *(issue for issue in found if issue.key not in named)])


def _chooses(override: str) -> bool:
    return override.partition("=")[0].lstrip("+~") in SELECTABLE


def _compose(root: str, overrides: list[str]) -> DictConfig | Exception:
    try:
        return hydra.compose(root, overrides=overrides, return_hydra_config=True)
    except REFUSALS as error:
        return error


def _points(override: str) -> list[str]:
    """The override, once for each value that it sweeps over; none where only a sweeper knows."""
    try:
        parsed = OverridesParser.create().parse_override(override)
    except HydraException:
        return [override]
    if not parsed.is_sweep_override():
        return [override]
    try:
        return [f"{override.split('=', 1)[0]}={value}" for value in parsed.sweep_string_iterator()]
    except (HydraException, TypeError):
        return []


def _several(override: str) -> Issue:
    key, _, value = override.partition("=")
    text = f"several values need the flag -m; one value with a comma is typed {quoted(key, value)}"
    return Issue(key, text, f"override {override!r}")


def quoted(key: str, value: str) -> str:
    """How a shell's user types a value that Hydra would take apart."""
    return f"""'{key}="{value}"'"""


def _override_issue(
    override: str, composed: DictConfig, error: Exception, folder: Path | None
) -> Issue:
    key, _, value = override.partition("=")
    name = key.lstrip("+~")
    origin = f"override {override!r}"
    if isinstance(error, yaml.YAMLError):
        return Issue(name, f"not readable as YAML: {' '.join(str(error).split())}", origin)
    selectable = name in SELECTABLE and name in composed.hydra.runtime.choices
    allowed = options_of(name, folder) if selectable else {}
    if allowed and value not in allowed:
        text = f"no option {value!r}; allowed: {', '.join(allowed)}.{did_you_mean(value, allowed)}"
        return Issue(name, text, origin)
    if allowed:
        return Issue(name, _first_line(error), origin)
    if name.rsplit(".", 1)[-1] == "_target_":
        text = "is refused: a config names no Python object, only registered names"
        return Issue(name, text, origin)
    if isinstance(error, OverrideParseException):
        text = f"not readable; a value with special characters is typed {quoted(key, value)}"
        return Issue(name, text, origin)
    known = dotted_keys(OmegaConf.to_container(composed, resolve=False))
    if name not in known and not name.startswith("hydra"):
        return Issue(name, f"no such key{_siblings(name, known)}.{_near_key(name, known)}", origin)
    return Issue(name, _first_line(error), origin)


def _siblings(name: str, known: list[str]) -> str:
    parent = name.rpartition(".")[0]
    leaves = [key.rpartition(".")[2] for key in known if key.rpartition(".")[0] == parent]
    return f"; allowed here: {', '.join(leaves)}" if leaves else ""


def _near_key(name: str, known: list[str]) -> str:
    leaf = name.rsplit(".", 1)[-1]
    same = [key for key in known if key.rsplit(".", 1)[-1] == leaf]
    if same:
        return did_you_mean(name, same) or f" Did you mean {same[0]!r}?"
    return did_you_mean(name, known) or did_you_mean(leaf, [k.rsplit(".", 1)[-1] for k in known])


def dotted_keys(values: Any, prefix: str = "") -> list[str]:
    """Every key of nested values, ``a``, ``a.b`` ..., but Hydra's own."""
    keys = []
    for key, value in values.items() if isinstance(values, dict) else ():
        if prefix or key != "hydra":
            keys += [f"{prefix}{key}", *dotted_keys(value, f"{prefix}{key}.")]
    return keys


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
