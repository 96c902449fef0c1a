"""What holds before a command starts: a light package, its environment, how it is stopped."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

import rechub_cli
from rechub_cli.shell.waiting import SPINS, choose_waiting
from tests.cli.process import python

STOPPED = """
import os, sys
from rechub_cli.commands import start
verb, sent = sys.argv[1], int(sys.argv.pop())
root, schema, _ = start.COMMANDS[verb]
def stopped(config, run_dir, origin):
    if verb == "train" and config.seed == 1:
        (run_dir / "checkpoints" / "best").mkdir(parents=True)
    os.kill(os.getpid(), sent)
start.COMMANDS[verb] = (root, schema, stopped)
from rechub_cli.cli import main
sys.exit(main(sys.argv[1:]))
"""

STOPPED_AMID_AN_IMPORT = """
import os, sys, time
from rechub_cli.commands import start
sent = int(sys.argv.pop())
root, schema, _ = start.COMMANDS["train"]
with open("half.py", "w") as file:
    file.write(f"import os; os.kill(os.getpid(), {sent}); print('whole', flush=True)")
sys.path.insert(0, ".")
def stopped(config, run_dir, origin):
    import half
    time.sleep(60)  # the whole of it only where the stop is lost: a sleeper must be woken by it
start.COMMANDS["train"] = (root, schema, stopped)
from rechub_cli.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("name", rechub_cli.__all__)
def test_every_exported_name_is_there(name: str) -> None:
    assert getattr(rechub_cli, name) is not None


def test_no_other_name_is_exported() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = rechub_cli.Nothing


def test_threads_wait_passively_unless_told_otherwise(tmp_path: Path) -> None:
    script = (
        "import os; from rechub_cli.cli import main; main(['models']); "
        "print(os.environ['OMP_WAIT_POLICY'])"
    )
    assert python("-c", script, cwd=tmp_path, env={"OMP_WAIT_POLICY": "ACTIVE"}).stdout.endswith(
        "ACTIVE\n"
    )
    unset = f"import os; os.environ.pop('OMP_WAIT_POLICY', None); {script}"
    assert python("-c", unset, cwd=tmp_path).stdout.endswith("PASSIVE\n")


PASSIVE, LOOKING = {"OMP_WAIT_POLICY": "PASSIVE"}, {"GOMP_SPINCOUNT": str(SPINS)}


@pytest.mark.parametrize(
    ("load", "cores", "given", "chosen"),
    [
        ("0.95 2.28 2.63 1/87 21264", 2, {}, PASSIVE | LOOKING),  # one runs: this process
        ("0.00 0.00 0.00 2/87 21264", 2, {}, PASSIVE),  # now, whatever it was before
        ("9.00 9.00 9.00 3/87 21264", 8, {}, PASSIVE | LOOKING),
        ("9.00 9.00 9.00 4/87 21264", 8, {}, PASSIVE),
        ("0.00 0.00 0.00 0/0 0", 2, {}, PASSIVE),  # not known, as in some sandboxes
        ("nonsense", 8, {}, PASSIVE),
        (None, 8, {}, PASSIVE),
        ("0.95 2.28 2.63 1/87 21264", 2, {"OMP_WAIT_POLICY": "ACTIVE"}, {}),
        ("0.95 2.28 2.63 1/87 21264", 2, {"GOMP_SPINCOUNT": "7"}, PASSIVE),
    ],
)
def test_threads_look_before_they_sleep_where_cores_are_free(
    load: str | None,
    cores: int,
    given: dict[str, str],
    chosen: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(cores)), raising=False)
    file, environ = tmp_path / "loadavg", dict(given)
    if load is not None:
        file.write_text(load + "\n")
    choose_waiting(environ, file)
    assert environ == given | chosen


def test_what_runs_for_a_moment_only_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1}, raising=False)
    file, environ = tmp_path / "loadavg", dict[str, str]()
    file.write_text("0.00 0.00 0.00 2/87 21264\n")
    monkeypatch.setattr(time, "sleep", lambda _: file.write_text("0.00 0.00 0.00 1/87 21264\n"))
    choose_waiting(environ, file)
    assert environ == PASSIVE | LOOKING


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["train"], ": no epoch was finished"),
        (["train", "seed=1"], ": `rechub evaluate run={run}` reads its best epoch"),
        (["train", "-m", "seed=1,2"], ": `rechub evaluate run={run}` reads its best epoch"),
        (
            ["train", "seed=1", "hydra.run.dir=a b"],
            ": `rechub evaluate 'run={run}'` reads its best epoch",
        ),
        (["check"], ""),
        (["estimate"], ""),
    ],
)
@pytest.mark.parametrize(
    ("sent", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_stopped_command_says_so_in_one_line(
    words: list[str], text: str, sent: int, code: int, word: str, tmp_path: Path
) -> None:
    done = python("-c", STOPPED, *words, str(int(sent)), cwd=tmp_path, code=code)
    found = [file.parents[1] for file in tmp_path.rglob("best")]
    assert done.stderr.splitlines()[-1] == word + text.format(run=found[0] if found else "")
    assert len(found) == ("best" in text)
    assert found or list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("sent", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_an_import_under_way_is_finished_first(
    sent: int, code: int, word: str, tmp_path: Path
) -> None:
    """A torch that is imported half ends the process with a segmentation fault."""
    done = python("-c", STOPPED_AMID_AN_IMPORT, "train", str(int(sent)), cwd=tmp_path, code=code)
    assert done.stdout.splitlines()[-1] == "whole"
    assert done.stderr.splitlines()[-1] == f"{word}: no epoch was finished"
