"""Training steps on two threads against one, by the clock on the wall: needs two idle cores.

Each count has a process of its own, as a run has: to change it within one stops and starts the
other thread each time. Alone, this prints the seconds of a step of every model, as JSON.

    python -m tests.benchmarks.threads COUNT
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

from rechub_cli.cost.steps import spread_batches
from rechub_cli.registry import list_models
from rechub_cli.trainers.device import choose_matmul, keep_freed_memory
from tests.benchmarks.record import Row
from tests.benchmarks.stages import StagedTraining
from tests.benchmarks.synthetic import films, shipped
from tests.benchmarks.timing import clock, row

STEPS, WARM_UP, ROUNDS = 20, 3, 3
TARGET = round(1 / 1.6, 3)


def threads(rounds: int) -> list[Row]:
    """A row a model. rounds: at most ROUNDS, as each takes half a minute."""
    seconds = [(in_process(2), in_process(1)) for _ in range(min(rounds, ROUNDS))]
    return [
        row(
            f"{model}/two threads",
            [two[model] for two, _ in seconds],
            "one thread",
            [one[model] for _, one in seconds],
            target=TARGET,
        )
        for model in seconds[0][0]
    ]


def in_process(count: int) -> dict[str, float]:
    """Seconds of a step of every model on so many threads."""
    words = [sys.executable, "-m", __name__, str(count)]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def step_seconds(model: str, count: int) -> float:
    config = shipped(f"model={model}", f"trainer.threads={count}")
    training = StagedTraining(config, spread_batches(films()))
    for _ in range(WARM_UP):
        training.step()
    whole = clock(lambda: [training.step() for _ in range(STEPS)], watch=time.perf_counter)
    return whole / STEPS


def main() -> None:
    choose_matmul()
    keep_freed_memory()
    count = int(sys.argv[1])
    print(json.dumps({entry.name: step_seconds(entry.name, count) for entry in list_models()}))


if __name__ == "__main__":
    main()
