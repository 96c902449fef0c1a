"""The command line: the first word is the verb; nothing heavy is imported before it needs it."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from rechub_cli._version import __version__
from rechub_cli.errors import RechubError
from rechub_cli.shell.help import VERBS, overview, verb_help
from rechub_cli.shell.waiting import choose_waiting
from rechub_cli.suggest import did_you_mean

if TYPE_CHECKING:
    from rechub_cli.shell.arguments import Arguments
    from rechub_cli.shell.compose import Outcome

# What the machine refuses: no room, no right, no folder. The user can help it, we cannot.
HOST_ERRORS = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
)
OUT_OF_MEMORY = ("can't allocate memory", "out of memory")
"""Of torch's RuntimeErrors, on a CPU and a GPU."""
PLACES, DEFAULT_PLACE = ("hydra.run.dir=", "hydra.sweep.dir="), "runs/sweeps"
STOP_AGAIN = 0.05
"""Seconds after which a stop that came amid an import is tried again."""
DONE, FAILED, USAGE, BUG, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 130, 143


class Terminated(BaseException):
    """SIGTERM arrived."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (see ``rechub --help``)."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] == "--complete":
        return _complete(words[1:])
    if not words or words[0] in ("--help", "-h", "help"):
        print(overview())
        return DONE
    if words[0] in ("--version", "-V"):
        print(f"rechub {__version__}")
        return DONE
    choose_waiting(os.environ)
    signal.signal(signal.SIGTERM, _stop)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is to be ignored
        signal.signal(signal.SIGINT, _stop)
    folders: list[Path] = []
    standing = _standing(words)
    try:
        return _dispatch(words, folders)
    except RechubError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return _stopped("interrupted", folders, INTERRUPTED)
    except Terminated:
        return _stopped("terminated", folders, TERMINATED)
    except BrokenPipeError:
        return FAILED
    except Exception as error:
        return _unforeseen(error, *folders[-1:])
    finally:
        _remove_empty(folders, standing)


def _dispatch(words: list[str], folders: list[Path]) -> int:
    verb = next((w for w in words if not w.startswith("-")), words[0])
    if verb not in VERBS:
        raise RechubError(
            f"unknown command {verb!r}; allowed: {', '.join(VERBS)}.{did_you_mean(verb, VERBS)}"
        )
    words.remove(verb)
    if "--help" in words or "-h" in words:
        print(verb_help(verb, words))
        return DONE
    if verb in ("models", "data", "completion"):
        return _plain_verb(verb, words)
    return _hydra_verb(verb, words, folders)


def _plain_verb(verb: str, words: list[str]) -> int:
    if verb == "models":
        from rechub_cli.commands import models

        models.run(words)
    elif verb == "completion":
        from rechub_cli.shell.completion import script

        print(script(words[0] if len(words) == 1 else " ".join(words)))
    else:
        from rechub_cli.commands import data

        data.run(words)
    return DONE


def _hydra_verb(verb: str, words: list[str], folders: list[Path]) -> int:
    from rechub_cli.shell.arguments import parse

    arguments = parse(words)
    if arguments.sweep:  # the points are tried before the first of them speaks
        from rechub_cli.commands import start

        start.say(f"{verb}  sweep  {' '.join(arguments.overrides)}")
    if verb == "train":
        return _composed_verb(verb, arguments, folders)
    with tempfile.TemporaryDirectory(prefix="rechub-") as scratch:  # these verbs make no run
        return _composed_verb(verb, arguments.writing_to(scratch), folders)


def _composed_verb(verb: str, arguments: Arguments, folders: list[Path]) -> int:
    from rechub_cli.commands import start
    from rechub_cli.shell.compose import Outcome, run_verb

    outcome = Outcome()
    root, schema, command = start.COMMANDS[verb]

    def noting(config: object, run_dir: Path, origin: object) -> None:
        if verb == "train":
            folders.append(run_dir)
        command(config, run_dir, origin)  # type: ignore[arg-type]

    try:
        run_verb(arguments, root=root, schema=schema, command=noting, outcome=outcome)
    finally:
        if verb == "train":  # the last one stays the run that is under way
            folders[:0] = [*(folder for _, folder, _ in outcome.points), *outcome.sweep_dirs]
    return _sweep_result(outcome) if outcome.sweep_dirs else DONE


def _sweep_result(outcome: Outcome) -> int:
    failed, points = outcome.failed, outcome.points
    print(f"sweep: {len(points) - len(failed)} of {len(points)} points done", file=sys.stderr)
    for overrides, folder, error in failed:
        print(f"  failed: {overrides}: {' '.join(str(error).split())}", file=sys.stderr)
        if not isinstance(error, RechubError):
            _unforeseen(error, folder)
    return FAILED if failed else DONE


def _complete(words: list[str]) -> int:
    from rechub_cli.shell.completion import complete

    print("\n".join(complete(" ".join(words))))
    return DONE


def _stop(number: int, frame: FrameType | None) -> None:
    """Raise what ends the command, but not amid an import: a half imported torch may crash."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            again = (threading.get_ident(), number)  # to a main thread that may be asleep
            later = threading.Timer(STOP_AGAIN, signal.pthread_kill, again)
            later.daemon = True
            later.start()
            return
        frame = frame.f_back
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated


def _stopped(what: str, folders: list[Path], code: int) -> int:
    for run in folders[-1:]:
        from rechub_cli.trainers.places import find_checkpoint

        kept = f"`rechub evaluate {shlex.quote(f'run={run}')}` reads its best epoch"
        some = find_checkpoint(run / "checkpoints" / "best") is not None
        what = f"{what}: {kept if some else 'no epoch was finished'}"
    print(f"\n{what}", file=sys.stderr)
    return code


def _unforeseen(error: Exception, run_dir: Path | None = None) -> int:
    """Say what the machine refused; else it is a bug: the traceback goes into a log, in the run's
    folder or the temporary one."""
    if isinstance(error, OSError) and error.errno in HOST_ERRORS:
        print(f"error: {error.strerror}: {error.filename or 'no file named'}", file=sys.stderr)
        return USAGE
    torchs = isinstance(error, RuntimeError) and any(s in str(error) for s in OUT_OF_MEMORY)
    if torchs or isinstance(error, MemoryError):
        print(
            "error: the memory ran out: lower trainer.batch_size or model.embed_dim; `rechub "
            "estimate` with the same words says what fits",
            file=sys.stderr,
        )
        return USAGE
    folder = run_dir if run_dir and run_dir.is_dir() else Path(tempfile.gettempdir())
    log = folder / f"rechub-error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    lines = "".join(traceback.format_exception(error))
    log.write_text(f"rechub {__version__}\n{sys.argv}\n{lines}")
    last = traceback.format_exception_only(error)[-1].strip()
    print(f"bug in rechub: {last}\nPlease report it with the log {log}", file=sys.stderr)
    return BUG


def _standing(words: Sequence[str]) -> set[Path]:
    """The folders that are there before a run, of those that may hold its own."""
    typed = [word.partition("=")[2].strip("'\"") for word in words if word.startswith(PLACES)]
    places = [Path(place).absolute() for place in (*typed, DEFAULT_PLACE)]
    # Path.is_dir raises for a name that is too long, or a folder that one may not look into.
    return {f for place in places for f in (place, *place.parents) if os.path.isdir(f)}


def _remove_empty(folders: Sequence[Path], standing: set[Path]) -> None:
    """A command that failed before it wrote anything leaves no folder behind, and takes none of
    the user's away."""
    here = Path.cwd()
    for folder in sorted(folders, key=lambda folder: -len(folder.parts)):
        with contextlib.suppress(OSError):
            if [file.name for file in folder.iterdir()] == ["multirun.yaml"]:
                (folder / "multirun.yaml").unlink()
            for made in (folder, *folder.parents):
                if made in standing or (made != folder and here not in made.parents):
                    break
                made.rmdir()
