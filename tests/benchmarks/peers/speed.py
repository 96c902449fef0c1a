"""Seconds a scored pair, or a position, of ours and of a peer in turn."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rechub_cli.config.schema import RunConfig
from rechub_cli.data.dataset import MatchData
from rechub_cli.runs import load_data
from tests.benchmarks.peers.cases import MAX_LEN, NAMES, NEGATIVES, Speed
from tests.benchmarks.peers.samples import rows, save, sequences
from tests.benchmarks.peers.worker import Worker
from tests.benchmarks.record import Row
from tests.benchmarks.stages import StagedTraining
from tests.benchmarks.synthetic import shipped
from tests.benchmarks.timing import clock, row

ROUNDS, BATCHES = 5, 10


def our_config(case: Speed, folder: str) -> RunConfig:
    """The shipped model, made as wide as the peer's."""
    return shipped("data=ml_100k", f"data.path={folder}", *case.overrides)


def compare_speed(case: Speed, folder: str) -> list[Row]:
    config = our_config(case, folder)
    training = StagedTraining(config, load_data(config)[0])
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "samples.npz"
        worker = Worker(case.peer, *_work(case, training.data, file))
        try:
            rounds = [_round(case, training, worker) for _ in range(1 + ROUNDS)][1:]
        finally:
            worker.close()
    own, other = ([pair[side] for pair in rounds] for side in (0, 1))
    size = sum(p.numel() for p in training.model.parameters())
    note = f"{size:,} parameters against {worker.parameters:,}"
    return [
        row(
            case.name,
            own,
            NAMES[case.peer],
            other,
            work=1,
            unit=case.unit,
            target=case.target,
            note=note,
        )
    ]


def _work(case: Speed, data: MatchData, file: Path) -> tuple[str, Path, dict[str, object]]:
    """The worker's arguments; writes the file that it reads."""
    if case.peer == "torch_rechub" and case.model != "sasrec":
        pointwise = case.mode == "pointwise"
        save(rows(data, max_len=MAX_LEN, negatives=NEGATIVES, pointwise=pointwise), file)
        size = case.batch * (case.scored if pointwise else 1)
        return case.model, file, {**case.options, "batch_size": size}
    save(sequences(data, max_len=MAX_LEN), file)
    sizes = {
        "torch_rechub": {"batch_size": case.batch},
        "recbole": {"train_batch_size": case.batch, "MAX_ITEM_LIST_LENGTH": MAX_LEN},
        "rectools": {"batch_size": case.batch, "session_max_len": MAX_LEN, "epochs": 10**6},
    }
    return case.theirs or case.model, file, {**case.options, **sizes[case.peer]}


def _round(case: Speed, training: StagedTraining, worker: Worker) -> tuple[float, float]:
    """Seconds a pair of both."""
    scored = 0

    def train() -> None:
        nonlocal scored
        for _ in range(BATCHES):
            training.step()
            scored += training.rows * case.scored

    seconds = clock(train)
    theirs, done = worker.train(BATCHES)
    return seconds / scored, theirs / done
