"""Our end of the pipe to a worker: another library in a process and a venv of its own."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks.peers.venv import peer_python

HERE = Path(__file__).parent


def command(peer: str, model: str, file: Path, options: Mapping[str, Any]) -> list[str]:
    script = HERE / f"{peer}_worker.py"
    return [str(peer_python(peer)), str(script), model, str(file), json.dumps(dict(options))]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


class Worker:
    """Trains on as many batches as it is told. parameters: of its model, once known."""

    def __init__(self, peer: str, model: str, file: Path, options: Mapping[str, Any]) -> None:
        self.said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by close()
        self.process = subprocess.Popen(
            command(peer, model, file, options),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,  # no pipe, which would fill unread
            env=environment(),
            text=True,
        )
        self.parameters: int | None = None

    def train(self, batches: int) -> tuple[float, int]:
        """Seconds of the processor, and the pairs or positions scored."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{batches}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            code = self.process.wait()
            self.said.seek(0)
            raise RuntimeError(f"the peer ended with code {code}:\n{self.said.read()}")
        found = json.loads(answer)
        self.parameters = found["parameters"]
        return found["seconds"], found["done"]

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.said.close()


def train_whole(
    peer: str, model: str, file: Path, options: Mapping[str, Any], *, folder: Path
) -> None:
    """Trains all epochs; the scores after each are then in ``folder`` (see pace.Epochs)."""
    done = subprocess.run(
        [*command(peer, model, file, options), str(folder)],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment(),
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"the peer ended with code {done.returncode}:\n{done.stderr}")
