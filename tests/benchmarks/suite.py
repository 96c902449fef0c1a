"""Every benchmark by name. Each takes the number of rounds and gives rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tests.benchmarks import ingest, scale, stages
from tests.benchmarks.record import Row
from tests.benchmarks.threads import threads

ROUNDS, INGEST_ROWS = 5, 2_000_000


def benchmarks(*, ingest_rows: int = INGEST_ROWS) -> dict[str, Callable[[int], list[Row]]]:
    return {
        "stages": stages.training_stages,
        "evaluation": stages.evaluation,
        "export": stages.export,
        "softmax": scale.softmax,
        "threads": threads,
        "step": scale.catalogue_step,
        "ranking": scale.ranking,
        "ingest": partial(ingest.ingest, num_rows=ingest_rows),
    }
