"""The shipped options, read from conf/ as text: quick, for --help and TAB."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from rechub_cli.config.locate import conf_dir

CHOICES = re.compile(r"\w+( \([^)]*\))?( \| \w+( \([^)]*\))?)+")
INLINE = re.compile(r"(\w+): (\[[^\]]*\]|[^,}]+)")
DATA_SETS = ("ml_100k", "ml_1m", "amazon_beauty")
"""What `rechub data` knows."""
GROUPS = ("data", "features", "model", "trainer", "export")
SELECTABLE = (*GROUPS, "recipe")
RECIPE_GROUP = re.compile(r"- override /(\w+): (\w+)")


@dataclass(frozen=True)
class Key:
    """One setting: dotted name, default as written, its comment."""

    name: str
    default: str
    comment: str

    @property
    def choices(self) -> list[str]:
        """The values that its comment starts with, ``a | b (why) | c``, or those of a flag."""
        if self.default in ("true", "false"):
            return ["true", "false"]
        found = CHOICES.match(self.comment)
        return re.findall(r"\w+", re.sub(r" \([^)]*\)", "", found[0])) if found else []


def options_of(group: str, own: Path | None = None) -> dict[str, str]:
    """Option -> the first comment line of its file. own: a folder with groups of the user's."""
    folders = [conf_dir(), *([own] if own else [])]
    files = [file for folder in folders for file in sorted((folder / group).glob("*.yaml"))]
    return {file.stem: _title(file) for file in files}


def _title(file: Path) -> str:
    comments = [line for line in file.read_text().splitlines()[:2] if not line.startswith("# @")]
    return comments[0].lstrip("# ") if comments else ""


def option_file(group: str, option: str, own: Path | None) -> Path | None:
    """The YAML file of an option; the user's own comes first."""
    files = [where / group / f"{option}.yaml" for where in (own, conf_dir()) if where is not None]
    return next((file for file in files if file.is_file()), None)


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
        value, _, comment = (part.strip() for part in rest.partition("  # "))
        while stack and stack[-1][0] >= indent:
            stack.pop()
        dotted = ".".join([*(n for _, n in stack), name])
        if not value:
            stack.append((indent, name))
        elif not (name == "name" and indent == 0):
            keys += _inline(Key(prefix + dotted, value, comment))
    return [k for k in keys if not k.name.startswith("defaults")]


def _inline(key: Key) -> list[Key]:
    """A key, or those of its ``{a: 1, b: 2}``; the comment is the first one's."""
    pairs = INLINE.findall(key.default) if key.default.startswith("{") else []
    comments = [key.comment, *[""] * len(pairs)]
    inner = zip(pairs, comments, strict=False)
    return [Key(f"{key.name}.{n}", v, c) for (n, v), c in inner] or [key]


def chosen_options(words: list[str]) -> dict[str, str]:
    """The last option that the words, or the recipe among them, take for each group; of a sweep,
    the first."""
    pairs = [word.lstrip("+").split("=", 1) for word in words if "=" in word]
    chosen = {key: value.split(",")[0] for key, value in pairs if key in SELECTABLE}
    recipe = option_file("recipe", chosen.get("recipe", ""), config_dir(words))
    return {**(dict(RECIPE_GROUP.findall(recipe.read_text())) if recipe else {}), **chosen}


def config_dir(words: list[str]) -> Path | None:
    """The folder that --config-dir names among the words."""
    named = [b for a, b in zip(words, words[1:], strict=False) if a in ("--config-dir", "-cd")]
    named += [word.split("=", 1)[1] for word in words if word.startswith("--config-dir=")]
    return Path(named[-1]) if named else None


def all_keys(chosen: dict[str, str], own: Path | None = None) -> list[Key]:
    """Every setting of a run under the chosen options, root settings last.

    own: a folder with groups of the user's.
    """
    keys = []
    for group in GROUPS:
        file = option_file(group, chosen.get(group, default_option(group)), own)
        keys += keys_of(file, f"{group}.") if file else []
    keys += keys_of(conf_dir() / "train.yaml")
    recipe = option_file("recipe", chosen.get("recipe", ""), own)
    changed = {key.name: key.default for key in keys_of(recipe)} if recipe else {}
    return [replace(key, default=changed.get(key.name, key.default)) for key in keys]
