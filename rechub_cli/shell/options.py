"""The shipped options, read from conf/ as text: quick, for --help and TAB."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rechub_cli.config.locate import conf_dir

GROUPS = ("data", "features", "model", "trainer", "export")


@dataclass(frozen=True)
class Key:
    """One setting: dotted name, default as written, its comment."""

    name: str
    default: str
    comment: str


def options_of(group: str, folder: Path | None = None) -> dict[str, str]:
    """Option -> the first comment line of its file."""
    files = sorted(((folder or conf_dir()) / group).glob("*.yaml"))
    return {f.stem: f.read_text().split("\n", 1)[0].lstrip("# ") for f in files}


def default_option(group: str) -> str:
    """The option that train.yaml takes for a group."""
    for line in (conf_dir() / "train.yaml").read_text().splitlines():
        if line.strip().startswith(f"- {group}:"):
            return line.split(":", 1)[1].strip()
    raise KeyError(group)


def keys_of(file: Path, prefix: str = "") -> list[Key]:
    """The settings of a shipped YAML file (block style, as all of ours are)."""
    keys: list[Key] = []
    stack: list[tuple[int, str]] = []
    for line in file.read_text().splitlines():
        bare = line.strip()
        if line.startswith("hydra:"):
            break
        if not bare or bare.startswith(("#", "- ")) or ":" not in bare:
            continue
        indent = len(line) - len(line.lstrip())
        name, _, rest = bare.partition(":")
        value, _, comment = rest.strip().partition("  # ")
        while stack and stack[-1][0] >= indent:
            stack.pop()
        dotted = ".".join([*(n for _, n in stack), name])
        if not value:
            stack.append((indent, name))
        elif not (name == "name" and indent == 0):
            keys.append(Key(prefix + dotted, value, comment))
    return [k for k in keys if not k.name.startswith("defaults")]


def all_keys(chosen: dict[str, str]) -> list[Key]:
    """Every setting of a run under the chosen options, root settings last."""
    folder = conf_dir()
    keys = []
    for group in GROUPS:
        file = folder / group / f"{chosen.get(group, default_option(group))}.yaml"
        if file.exists():
            keys += keys_of(file, f"{group}.")
    return keys + keys_of(folder / "train.yaml")
