"""``make bench-curves``: time and memory against size, into curves.json and README's table.

Each point is a process of its own, so that its peak memory is its own. Times are of the processor
and counted in bare products timed in turn with them: other jobs on the machine stretch both.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, median

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from rechub_cli.cost.memory import peak_bytes
from rechub_cli.cost.steps import spread_batches
from rechub_cli.data.dataset import MatchData
from rechub_cli.trainers.checkpoint import model_tensors
from rechub_cli.trainers.device import choose_matmul
from tests.benchmarks.curves_table import RECORD, load, render
from tests.benchmarks.ingest import EVENTS_A_USER, NUM_ITEMS, prepare_file, string_items
from tests.benchmarks.limits import matmul
from tests.benchmarks.record import machine
from tests.benchmarks.scale import LARGE_CATALOGUE
from tests.benchmarks.stages import StagedTraining
from tests.benchmarks.synthetic import WIDTH, bare, events, films, shipped
from tests.benchmarks.threads import threads
from tests.benchmarks.timing import interleave
from tests.readme import write

STEPS, PREPARATIONS, THREAD_ROUNDS = 10, 3, 3
SAMPLED = (
    "model=youtube_dnn",
    f"model.embed_dim={WIDTH}",
    "trainer.negatives.sampler=uniform",
    "trainer.negatives.num_negatives=1024",
    *LARGE_CATALOGUE,
)


@dataclass(frozen=True)
class Point:
    """size: what the curve runs over. matmuls: the time, in bare products (see limits).
    seconds: of the processor. peak_mib: None where nothing new is held.
    """

    curve: str
    size: int
    seconds: float
    matmuls: float
    peak_mib: int | None


def _items(size: int) -> Callable[[], object]:
    return _steps(bare(size), *SAMPLED)


def _history(size: int) -> Callable[[], object]:
    return _steps(films(max_len=size, num_users=600), "model=sasrec")


def _interests(size: int) -> Callable[[], object]:
    return _steps(films(), "model=mind", f"model.interest_num={size}")


def _batch(size: int) -> Callable[[], object]:
    return _steps(films(), "model=youtube_dnn", f"trainer.batch_size={size}")


def _rows(size: int) -> Callable[[], object]:
    folder = tempfile.TemporaryDirectory()
    file = Path(folder.name) / "events.parquet"
    # Made elsewhere: the table's own memory is none of the preparation's.
    subprocess.run(
        [sys.executable, "-m", __spec__.name, "--write", str(file), str(size)], check=True
    )
    return lambda kept=folder: prepare_file(file)  # the folder lives as long as the work


CURVES: dict[str, tuple[Callable[[int], Callable[[], object]], tuple[int, ...]]] = {
    "items": (_items, (10_000, 100_000, 1_000_000, 10_000_000)),
    "history": (_history, (10, 50, 100, 200, 500)),
    "interests": (_interests, (1, 2, 4, 8)),
    "batch": (_batch, (128, 512, 2_048, 8_192)),
    "rows": (_rows, (100_000, 1_000_000, 5_000_000, 20_000_000)),
}


def _steps(data: MatchData, *words: str) -> Callable[[], object]:
    """The work of one training step, with all that training holds."""
    training = StagedTraining(shipped(*words), spread_batches(data))
    best = model_tensors(training.model)  # as the trainer keeps its best epoch

    def step(kept: object = best) -> object:
        return training.step()

    return step


def measure(curve: str, size: int) -> Point:
    """One point, in this process."""
    torch.set_num_threads(1)
    pa.set_cpu_count(1)
    choose_matmul()
    # Steps differ by their histories; preparations are alike, and few.
    rounds, middle = (PREPARATIONS, median) if curve == "rows" else (STEPS, mean)
    seconds = interleave({"own": CURVES[curve][0](size), "matmul": matmul}, rounds=rounds)
    ratios = [a / b for a, b in zip(seconds["own"], seconds["matmul"], strict=True)]
    return Point(curve, size, middle(seconds["own"]), middle(ratios), peak_bytes() >> 20)


def in_process(curve: str, size: int) -> Point:
    """One point, in a process of its own."""
    words = [sys.executable, "-m", __spec__.name, "--point", curve, str(size)]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    return Point(**json.loads(done.stdout.splitlines()[-1]))


def thread_points() -> list[Point]:
    """Wall time of a step on two threads against one, each in processes of its own."""
    (found,) = [row for row in threads(THREAD_ROUNDS) if row.name.startswith("youtube_dnn/")]
    one = found.seconds / found.ratio
    return [
        Point("threads", count, seconds, seconds / one, None)
        for count, seconds in ((1, one), (2, found.seconds))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.curves", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=[*CURVES, "threads"], help="renew these")
    parser.add_argument("--point", nargs=2, metavar=("CURVE", "SIZE"), help="print one point")
    parser.add_argument("--write", nargs=2, metavar=("FILE", "ROWS"), help="write made-up events")
    words = parser.parse_args()
    if words.write:
        rows = int(words.write[1])
        table = events(max(1, rows // EVENTS_A_USER), min(NUM_ITEMS, rows), rows)
        pq.write_table(string_items(table), words.write[0])
    elif words.point:
        print(json.dumps(asdict(measure(words.point[0], int(words.point[1])))))
    else:
        record(words.only or [*CURVES, "threads"])


def record(names: list[str]) -> None:
    """Measure these curves, keep the others' points, and write the record and the table."""
    old = json.loads(RECORD.read_text())["points"] if RECORD.exists() else []
    points = [p for p in old if p["curve"] not in names]
    for name in names:
        found = thread_points() if name == "threads" else []
        for size in () if name == "threads" else CURVES[name][1]:
            found.append(in_process(name, size))
            print(found[-1], file=sys.stderr, flush=True)
        points += map(asdict, found)
    RECORD.write_text(json.dumps({"machine": machine(), "points": points}, indent=1) + "\n")
    write(render(load()))


if __name__ == "__main__":
    main()
