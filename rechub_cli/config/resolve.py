"""A composed config to a typed one; every problem of a run in one report."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from rechub_cli.config.data_schema import DemoData, TableData
from rechub_cli.config.later import complete
from rechub_cli.config.node import Node
from rechub_cli.config.origin import Origin
from rechub_cli.config.schema import RunConfig, monitor_problem
from rechub_cli.errors import ConfigError

Config = TypeVar("Config", bound=Node)
MISSING = "???"


@dataclass(frozen=True)
class Issue:
    """One problem: key, value as found, what is wrong, where the value came from."""

    key: str
    message: str
    origin: str = ""

    def __str__(self) -> str:
        return f"{self.key}: {self.message}" + (f"  [{self.origin}]" if self.origin else "")


def resolve(schema: type[Config], values: Mapping[str, Any], *, origin: Origin) -> Config:
    """Check plain values against a schema. Raises ConfigError with all problems at once."""
    issues = find_issues(schema, values, origin=origin)
    if issues:
        raise report(issues)
    return schema.model_validate(values)


def find_issues(schema: type[Node], values: Mapping[str, Any], *, origin: Origin) -> list[Issue]:
    """Every problem of the values, in the order of their keys."""
    issues = [
        Issue(key, "is not set and has no default: give it", origin.of(key))
        for key in _keys_with(values, MISSING)
    ]
    named = {issue.key for issue in issues}
    try:
        schema.model_validate(values)
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            found = _issues(schema, values, problem, origin)
            issues += [issue for issue in found if issue.key not in named]
    monitor = monitor_problem(values) if schema is RunConfig else None
    if monitor is not None:
        key = "trainer.monitor"
        issues.append(Issue(key, f"{_lookup(values, key)!r} {monitor}", origin.of(key)))
    return issues


def report(issues: Sequence[Issue]) -> ConfigError:
    """One error that lists all problems."""
    head = "1 problem" if len(issues) == 1 else f"{len(issues)} problems"
    return ConfigError("\n".join([f"{head} in the config:", *(f"  {i}" for i in issues)]))


def _issues(
    schema: type[Node], values: Mapping[str, Any], problem: Any, origin: Origin
) -> list[Issue]:
    # A tagged union puts its tag into the location; it is no key of the config.
    path = _real_path(values, problem["loc"], missing=problem["type"] == "missing")
    if problem["type"] != "value_error":
        return [_issue(schema, values, path, problem, origin)]
    out = []
    for line in str(problem["ctx"]["error"]).split("\n"):
        name, _, text = line.partition("|")
        # The rule of a field names the field itself, that of a node a key in it.
        key = ".".join([*map(str, path), *([] if path[-1:] == [name] else [name])])
        out.append(Issue(key, f"{_shown(_lookup(values, key))}{text}", origin.of(key)))
    return out


def _issue(
    schema: type[Node], values: Mapping[str, Any], path: list[Any], problem: Any, origin: Origin
) -> Issue:
    kind, context = problem["type"], problem.get("ctx", {})
    key = ".".join(map(str, path))
    if kind == "extra_forbidden":
        if path[-1] == "_target_":
            text = "is refused: a config names no Python object, only registered names"
        else:
            parent = _node_at(schema, values, path[:-1])
            allowed = sorted(parent.model_fields) if parent else []
            text = f"no such key; allowed here: {', '.join(allowed)}.{_near(path[-1], allowed)}"
        return Issue(key, text, origin.of(key))
    if kind == "missing":
        return Issue(key, "is missing: a required key cannot be left out", origin.of(key))
    found = problem["input"]
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        tag = str(context.get("discriminator", "'name'")).strip("'")
        key = f"{key}.{tag}"
        found = found.get(tag) if isinstance(found, Mapping) else found
        tags = str(context.get("expected_tags", "")).replace("'", "")
        text = f"{found!r}; allowed: {tags}.{_near(str(found), tags.split(', '))}"
        return Issue(key, text, origin.of(key))
    if kind == "model_type":
        return Issue(key, f"{found!r}; allowed: keys of its own, no single value.", origin.of(key))
    text = (
        problem["msg"]
        .replace("Input should be", "allowed:")
        .replace("a valid ", "a ")
        .replace("a integer", "an integer")
    )
    near = ""
    if kind == "literal_error":
        near = _near(
            str(found), str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
        )
    return Issue(key, f"{found!r}; {text}.{near}", origin.of(key))


def _near(word: Any, allowed: Sequence[str]) -> str:
    found = difflib.get_close_matches(str(word), allowed, n=1, cutoff=0.5)
    return f" Did you mean {found[0]!r}?" if found else ""


def _real_path(values: Mapping[str, Any], location: Sequence[Any], *, missing: bool) -> list[Any]:
    path: list[Any] = []
    here: Any = values
    for position, step in enumerate(location):
        last = position == len(location) - 1
        if (
            isinstance(here, Mapping)
            and step in here
            or isinstance(here, list)
            and isinstance(step, int)
            and step < len(here)
        ):
            here = here[step]
        elif not (missing and last):
            continue  # the tag of a union, or the branch of a plain one such as int | None
        path.append(step)
    return path


def _lookup(values: Any, key: str) -> Any:
    for step in key.split("."):
        if not isinstance(values, Mapping) or step not in values:
            return None
        values = values[step]
    return values


def _shown(value: Any) -> str:
    return "" if isinstance(value, Mapping) else f"{value!r} "


def _keys_with(values: Any, marker: str, prefix: str = "") -> list[str]:
    if not isinstance(values, Mapping):
        return []
    out = []
    for key, value in values.items():
        if value == marker:
            out.append(f"{prefix}{key}")
        out += _keys_with(value, marker, f"{prefix}{key}.")
    return out


def _node_at(schema: type[BaseModel], values: Any, path: Sequence[Any]) -> type[BaseModel] | None:
    """The schema class of a path, following the tag of each union."""
    here: type[BaseModel] | None = schema
    for step in path:
        if here is None or step not in here.model_fields:
            return None
        values = values.get(step) if isinstance(values, Mapping) else None
        field = here.model_fields[step]
        options = [
            option
            for option in getattr(field.annotation, "__args__", (field.annotation,))
            if isinstance(option, type) and issubclass(option, BaseModel)
        ]
        tag = str(field.discriminator) if field.discriminator else None
        here = next(
            (
                option
                for option in options
                if tag is None
                or (values or {}).get(tag) in option.model_fields[tag].annotation.__args__  # type: ignore[union-attr]
            ),
            None,
        )
    return here


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """Paths of the data as seen from where the command was started, whoever reads them later."""
    data = config.data
    changes: dict[str, Any] = {}
    if not isinstance(data, DemoData) and data.path is not None:
        changes["path"] = _absolute(data.path)
    if isinstance(data, TableData):
        for name, side in (("items", data.items), ("users", data.users)):
            if side.path is not None:
                changes[name] = side.model_copy(update={"path": _absolute(side.path)})
        if isinstance(data.cache, str):
            changes["cache"] = _absolute(data.cache)
    return config.model_copy(update={"data": data.model_copy(update=changes)})


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())


def to_yaml(config: Node) -> str:
    """The resolved config as YAML that ``load_config`` reads again."""
    text: str = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    return text


def load_config(path: Path) -> RunConfig:
    """Read a run's config.yaml, of an older version too (see LATER).

    Raises ConfigError where it is no resolved config.
    """
    try:
        values = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise ConfigError(f"{path.parent}: no run, config.yaml is missing") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not readable as YAML: {error}") from None
    values = complete(values) if isinstance(values, dict) else {}
    return resolve(RunConfig, values, origin=Origin(roots=(path,)))
