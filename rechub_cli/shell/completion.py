"""TAB: verbs, groups, options and keys, from conf/ as text."""

from __future__ import annotations

from rechub_cli.config.locate import conf_dir
from rechub_cli.errors import RechubError
from rechub_cli.shell.help import VERBS
from rechub_cli.shell.options import (
    DATA_SETS,
    SELECTABLE,
    Key,
    all_keys,
    chosen_options,
    config_dir,
    keys_of,
    options_of,
)

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
complete -o nospace -o default -F _rechub rechub""",
    "zsh": """#compdef rechub
_rechub() {
  local -a found
  found=("${(@f)$(rechub --complete "${LBUFFER}")}")
  compadd -Q -S '' -- ${found:#} || { compset -P '*='; _files }
}
compdef _rechub rechub""",
    "fish": """complete -c rechub -f -a '(rechub --complete (commandline -cp))'
complete -c rechub -n 'string match -qr "^(run|.*path)=" -- (commandline -ct)' -F""",
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
        return list(DATA_SETS)
    if verb not in ("train", "check", "estimate", "evaluate", "export"):
        return []
    if current.startswith("-"):
        return [f"{flag} " for flag in FLAGS]
    if verb in ("evaluate", "export"):
        return _settings(keys_of(conf_dir() / f"{verb}_run.yaml"), current)
    return _run_candidates(before[1:], current)


def _run_candidates(before: list[str], current: str) -> list[str]:
    own = config_dir(before)
    group, equals, value = current.partition("=")
    if equals and group in SELECTABLE:
        options = options_of(group, own)
        earlier = value[: value.rfind(",") + 1]  # of a sweep: model=mind,ds
        return [f"{group}={earlier}{option} " for option in options]
    keys = all_keys(chosen_options(before), own)
    return [*([] if equals else [f"{g}=" for g in SELECTABLE]), *_settings(keys, current)]


def _settings(keys: list[Key], current: str) -> list[str]:
    """Names of keys, or the values of the one that is typed."""
    if "=" not in current:
        return [f"{key.name}=" for key in keys]
    typed = [key for key in keys if key.name == current.partition("=")[0]]
    return [f"{key.name}={choice} " for key in typed for choice in key.choices]
