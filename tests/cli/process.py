"""The command line as a user's shell starts it: a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("data.num_users=60", "data.num_items=40", "trainer.n_epoch=1", "trainer.threads=1")
ENV = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}


def rechub(
    *words: str, cwd: Path, code: int = 0, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run one command; its exit code must be ``code``, and no traceback may show."""
    return python("-m", "rechub_cli", *words, cwd=cwd, code=code, env=env)


def python(
    *words: str, cwd: Path, code: int = 0, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Python as ``rechub`` does."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env={**ENV, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done
