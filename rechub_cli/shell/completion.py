"""TAB: verbs, groups, options and keys, from conf/ as text."""

from __future__ import annotations

from pathlib import Path

from rechub_cli.config.locate import conf_dir
from rechub_cli.errors import RechubError
from rechub_cli.shell.help import VERBS
from rechub_cli.shell.options import GROUPS, all_keys, default_option, keys_of, options_of

FLAGS = ("--cfg", "--config-dir", "--config-name", "--help", "--info", "--multirun")
SHELLS = ("bash", "zsh", "fish")

SCRIPTS = {
    "bash": """_rechub() {
  local IFS=$'\\n'
  COMPREPLY=($(rechub --complete "${COMP_LINE:0:COMP_POINT}"))
  # bash replaces only what follows the last "=" of the word.
  local word="${COMP_LINE:0:COMP_POINT}"; word="${word##* }"
  if [[ "$word" == *=* && "$COMP_WORDBREAKS" == *=* ]]; then
    COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*=}"}"}")
  fi
}
complete -o nospace -F _rechub rechub""",
    "zsh": """#compdef rechub
_rechub() {
  local -a found
  found=("${(@f)$(rechub --complete "${LBUFFER}")}")
  compadd -Q -S '' -- $found
}
compdef _rechub rechub""",
    "fish": "complete -c rechub -f -a '(rechub --complete (commandline -cp))'",
}


def script(shell: str) -> str:
    """The completion script of a shell. Raises RechubError for one we have none for."""
    if shell not in SCRIPTS:
        raise RechubError(f"completion {shell!r}; allowed: {', '.join(SHELLS)}")
    return SCRIPTS[shell]


def complete(line: str) -> list[str]:
    """The words that may stand where the cursor is. line: the command up to the cursor."""
    words = line.split()
    current = "" if line.endswith(" ") or not words else words.pop()
    return [w for w in _candidates(words[1:], current) if w.startswith(current)]


def _candidates(before: list[str], current: str) -> list[str]:
    if not before:
        return [*(f"{verb} " for verb in VERBS), "--help ", "--version "]
    verb = before[0]
    if verb == "completion":
        return list(SHELLS)
    if verb == "data":
        return ["ml_100k"]
    if verb not in ("train", "check", "evaluate", "export"):
        return []
    if current.startswith("-"):
        return [f"{flag} " for flag in FLAGS]
    if verb in ("evaluate", "export"):
        keys = keys_of(conf_dir() / f"{verb}_run.yaml")
        return [f"{key.name}=" for key in keys]
    return _run_candidates(before[1:], current)


def _run_candidates(before: list[str], current: str) -> list[str]:
    group, equals, _ = current.partition("=")
    if equals and group in GROUPS:
        own = _config_dir(before)
        options = {**options_of(group), **(options_of(group, own) if own else {})}
        return [f"{group}={option} " for option in options]
    chosen = {group: default_option(group) for group in GROUPS}
    chosen |= dict(w.split("=", 1) for w in before if w.partition("=")[0] in GROUPS and "=" in w)
    return [*(f"{g}=" for g in GROUPS), *(f"{key.name}=" for key in all_keys(chosen))]


def _config_dir(words: list[str]) -> Path | None:
    flags = ("--config-dir", "-cd")
    found = [Path(b) for a, b in zip(words, words[1:], strict=False) if a in flags]
    return found[-1] if found else None
