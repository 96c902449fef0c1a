"""The words after the verb: flags first and overrides last, as Hydra wants them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from rechub_cli.errors import RechubError
from rechub_cli.shell.options import SELECTABLE, options_of
from rechub_cli.suggest import did_you_mean

WITH_VALUE = (
    "--config-dir",
    "-cd",
    "--config-name",
    "-cn",
    "--config-path",
    "-cp",
    "--cfg",
    "-c",
    "--package",
    "-p",
)
ALONE = ("--multirun", "-m", "--resolve", "--hydra-help")
INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")


@dataclass(frozen=True)
class Arguments:
    """flags: with their values, in order. overrides: KEY=VALUE words, in order."""

    flags: tuple[str, ...]
    overrides: tuple[str, ...]

    def value(self, *names: str) -> str | None:
        """The value of the last of the named flags."""
        found = [b for a, b in zip(self.flags, self.flags[1:], strict=False) if a in names]
        return found[-1] if found else None

    @property
    def sweep(self) -> bool:
        return "-m" in self.flags or "--multirun" in self.flags

    def writing_to(self, folder: Path | str) -> Arguments:
        """These arguments, with what Hydra makes going into another folder."""
        places = (f"hydra.run.dir='{folder}'", f"hydra.sweep.dir='{folder}'")
        return replace(self, overrides=(*self.overrides, *places))


def parse(words: list[str]) -> Arguments:
    """Sort the words. Raises RechubError for an unknown flag, a flag without its value, a word
    that is no override, and for --cfg in a sweep."""
    flags: list[str] = []
    overrides: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            overrides.append(_override(word))
        elif equals and name in WITH_VALUE:
            flags += [name, value]
        elif word in WITH_VALUE:
            if not rest:
                raise RechubError(f"{word} needs a value")
            flags += [word, rest.pop(0)]
        elif word in ("--info", "-i"):
            flags += [word, *([rest.pop(0)] if rest and rest[0] in INFO else ["all"])]
        elif word in ALONE:
            flags.append(word)
        else:
            known = (*WITH_VALUE, *ALONE, "--info", "--help")
            raise RechubError(
                f"unknown flag {word!r}; allowed: {', '.join(k for k in known if k[1] == '-')}."
                + did_you_mean(word, known)
            )
    arguments = Arguments(tuple(flags), tuple(overrides))
    if arguments.sweep and arguments.value("--cfg", "-c"):
        raise RechubError("--cfg prints one config and -m runs many: give one of the two")
    return arguments


def _override(word: str) -> str:
    name = word.lstrip("+~").split("=", 1)[0]
    if not name.strip() or ("=" not in word and not word.startswith("~")):
        groups = [group for group in SELECTABLE if word in options_of(group)]
        meant = f"{groups[0]}={word}" if groups else f"{name or 'KEY'}=VALUE"
        raise RechubError(f"{word!r} is neither a flag nor KEY=VALUE; did you mean {meant}?")
    # Every group stands in the defaults, perhaps as null: Hydra adds no second option to it.
    return word.lstrip("+") if word.startswith("+") and name in SELECTABLE else word
