"""Where a value of the config came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

GROUPS = ("data", "features", "model", "trainer", "export")


@dataclass(frozen=True)
class Origin:
    """What a config was composed from, to say where a value came from.

    overrides: as typed, ``key=value``. files: group -> the YAML file of the chosen option.
    roots: the root config's file, then those that it may be built on. recipe: the file of the
    recipe, which has the last word but for the overrides.
    """

    overrides: Sequence[str] = ()
    files: Mapping[str, Path] | None = None
    roots: Sequence[Path] = ()
    recipe: Path | None = None

    def of(self, key: str) -> str:
        """The override that set a key, or the file and line that has it, or an empty text."""
        for override in reversed(self.overrides):
            name = override.lstrip("+~").split("=", 1)[0].split("@")[0]
            inside = name not in GROUPS and key.startswith(f"{name}.")
            if name and (key == name or inside or name.startswith(f"{key}.")):
                return f"override {override!r}"
        if self.recipe is not None and (line := _line_of(self.recipe, key, whole=True)):
            return line
        group, _, rest = key.partition(".")
        file = (self.files or {}).get(group)
        if file is not None and rest:
            return _line_of(file, rest)
        return next(filter(None, (_line_of(root, key) for root in self.roots)), "")


def _line_of(file: Path, key: str, *, whole: bool = False) -> str:
    """``file:line`` of a dotted key in a YAML file, or, unless ``whole`` is asked for, of the part
    of it that is there; an empty text where there is none."""
    node = yaml.compose(file.read_text(), yaml.SafeLoader)
    line = None
    for step in key.split("."):
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        match = next(((k, v) for k, v in pairs if k.value == step), None)
        if match is None:
            line = None if whole else line
            break
        line, node = match[0].start_mark.line + 1, match[1]
    return "" if line is None else f"{file}:{line}"
