"""A worker's end of the pipe, in whatever venv it runs: the standard library and numpy only."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import numpy as np


class Pipe:
    """Orders come on stdin, one a line; answers go out on stdout, one line of JSON each.

    What a library prints by itself goes to stderr. At the end of stdin the process ends.
    """

    def __init__(self) -> None:
        self.answers: TextIO = sys.stdout
        sys.stdout = sys.stderr

    def order(self) -> int:
        line = sys.stdin.readline()
        if not line:
            raise SystemExit
        return int(line)

    def answer(self, **values: Any) -> None:
        print(json.dumps(values), file=self.answers, flush=True)


class Paced:
    """A loader that stops after as many batches as were ordered, answers, and waits.

    So a library trains in its own loop, and only as far as it is told. scored: pairs or positions
    of a batch. known: goes into every answer.
    """

    def __init__(self, loader: Any, pipe: Pipe, *, scored: Callable[[Any], int], **known: Any):
        self.loader, self.pipe, self.scored, self.known = loader, pipe, scored, known
        self.left, self.done, self.start = 0, 0, 0.0

    def __len__(self) -> int:
        return len(self.loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def __iter__(self) -> Iterator[Any]:
        for batch in self.loader:
            if not self.left:
                self._wait()
            self.left -= 1
            self.done += self.scored(batch)
            yield batch

    def _wait(self) -> None:
        if self.done:
            seconds = time.process_time() - self.start
            self.pipe.answer(seconds=seconds, done=self.done, **self.known)
        self.left, self.done = self.pipe.order(), 0
        self.start = time.process_time()


class Epochs:
    """Scores after every epoch, as FOLDER/N.npz, with the seconds that training took so far."""

    def __init__(self, folder: str | None) -> None:
        self.folder = folder
        self.seconds, self.number = 0.0, 0
        self.begin()

    def begin(self) -> None:
        """The clock starts: from here on, training counts."""
        self.start = time.process_time()

    def ended(self, score: Callable[[str], Any]) -> None:
        """After an epoch; what this takes does not count. score: of ``valid`` and ``test``."""
        self.seconds += time.process_time() - self.start
        self.number += 1
        valid, test = (np.asarray(score(part), dtype=np.float32) for part in ("valid", "test"))
        np.savez(f"{self.folder}/{self.number}.npz", seconds=self.seconds, valid=valid, test=test)
        self.begin()
