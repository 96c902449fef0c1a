"""``make bench-peers``: training throughput beside torch-rechub, interleaved, on one thread."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from rechub_cli.config.schema import RunConfig
from rechub_cli.runs import load_data
from tests.benchmarks.peers.samples import NEGATIVES, samples, save
from tests.benchmarks.peers.venv import peer_python
from tests.benchmarks.record import Record, Row, machine, table
from tests.benchmarks.stages import StagedTraining
from tests.benchmarks.synthetic import shipped
from tests.benchmarks.timing import clock, row

ROUNDS, BATCHES, MAX_LEN, WIDTH = 5, 10, 50, 16
WORKER = Path(__file__).with_name("torch_rechub_worker.py")
NOTE = "same samples, width, batch, 3 uniform negatives a row, Adam; quality of neither measured"


TOWER, HEAD = f"[128,64,{WIDTH}]", f"[{WIDTH}]"


@dataclass(frozen=True)
class Case:
    """batch: positives a step of the peer, as in its own examples. words: overrides that give our
    model the peer's layers. windows: a step of ours, where it reads windows of many positives.
    target: of the ratio of seconds."""

    model: str
    mode: str
    batch: int
    target: float
    words: tuple[str, ...]
    windows: int | None = None


def _dims(dims: str, *others: str) -> tuple[str, ...]:
    return (f"model.user_params.dims={dims}", *others)


CASES = (
    Case("comirec_dr", "pairwise", 256, 1 / 15, _dims(HEAD)),
    Case("comirec_sa", "pairwise", 256, 1 / 6, _dims(HEAD, f"model.hidden_dim={4 * WIDTH}")),
    Case("dssm", "pointwise", 1024, 1 / 6, _dims(TOWER, f"model.item_params.dims={TOWER}")),
    Case(
        "gru4rec",
        "pairwise",
        256,
        1 / 15,
        (f"model.hidden_dim={WIDTH}", "model.num_layers=2"),
        windows=8,
    ),
    Case("mind", "pairwise", 256, 1 / 6, _dims(HEAD)),
    Case("youtube_dnn", "pairwise", 2048, 1 / 6, _dims(TOWER)),
)


class Peer:
    """The other library in a process of its own."""

    def __init__(self, python: Path, case: Case, file: Path) -> None:
        rows = case.batch * (1 + NEGATIVES if case.mode == "pointwise" else 1)
        self.process = subprocess.Popen(
            [python, WORKER, case.model, file, str(rows)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            text=True,
        )

    def train(self, batches: int) -> tuple[float, int]:
        """Seconds of the processor, and the pairs scored."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{batches}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the peer ended with code {self.process.wait()}")
        found = json.loads(answer)
        self.parameters = found["parameters"]
        return found["seconds"], found["pairs"]

    def close(self) -> None:
        self.process.communicate()


def our_config(case: Case, folder: str) -> RunConfig:
    """The shipped model, made as wide as the peer's."""
    words = [f"model.embed_dim={WIDTH}", "features.user_id=true", f"features.max_len={MAX_LEN}"]
    words += case.words
    words += [
        f"trainer.batch_size={case.windows or case.batch}",
        f"trainer.negatives.num_negatives={NEGATIVES}",
    ]
    exclude = "features.exclude=[age,gender,occupation,zip_code,release_year,genres]"
    return shipped(
        f"model={case.model}", f"trainer={case.mode}", "data=ml_100k", f"data.path={folder}",
        exclude, *words,
    )  # fmt: skip


def compare(case: Case, python: Path, folder: str) -> list[Row]:
    """Seconds a scored pair, of ours and theirs in turn."""
    config = our_config(case, folder)
    training = StagedTraining(config, load_data(config)[0])
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "samples.npz"
        pointwise = case.mode == "pointwise"
        save(samples(training.data, max_len=MAX_LEN, pointwise=pointwise), file)
        peer = Peer(python, case, file)
        try:
            rounds = [_round(training, peer) for _ in range(1 + ROUNDS)][1:]
        finally:
            peer.close()
    own, other = ([pair[side] for pair in rounds] for side in (0, 1))
    size = sum(p.numel() for p in training.model.parameters())
    note = (
        f"theirs {1 / median(other):,.0f} pairs/s; {size:,} parameters against "
        f"{peer.parameters:,}; {NOTE}"
    )
    return [
        row(f"peers/{case.model}", own, "torch-rechub 0.9.0", other, work=1, unit="pairs",
            target=case.target, note=note)
    ]  # fmt: skip


def _round(training: StagedTraining, peer: Peer) -> tuple[float, float]:
    """Seconds a pair of both."""
    pairs = 0

    def train() -> None:
        nonlocal pairs
        for _ in range(BATCHES):
            training.step()
            pairs += training.rows * (1 + NEGATIVES)

    seconds = clock(train)
    theirs, scored = peer.train(BATCHES)
    return seconds / pairs, theirs / scored


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.peers", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/bench-peers.json"))
    parser.add_argument("--only", nargs="+", choices=[case.model for case in CASES])
    words = parser.parse_args()
    torch.set_num_threads(1)
    home = Path(os.environ.get("RECHUB_TEST_DATA", "../shared/data")).resolve()
    python = peer_python("torch_rechub")
    record = Record(machine=machine())
    for case in CASES:
        if not words.only or case.model in words.only:
            record.rows += compare(case, python, str(home / "ml-100k"))
            print(table(record.rows[-1:]), file=sys.stderr, flush=True)
    record.save(words.out)
    print(table(record.rows))
    print(f"wrote {words.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
