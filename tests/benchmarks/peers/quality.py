"""Whole runs on ML-100k, one thread: how long each side takes to the quality that the peer ends
with, and the pairs that both score a second.

Test NDCG@10 under leave-one-out, full ranking, seen items masked, ties against the model, of both.
The peer's is that of its best epoch on validation, and its seconds are those of training up to it;
ours are those of training and validation up to the first look that is no worse: after each epoch,
and within the first one, which ends long after most peers' best. Pairs a second are those of all
epochs, in the same seconds. Preparation counts for neither.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rechub_cli.commands.train import make_trainer
from rechub_cli.data.dataset import MatchData
from rechub_cli.evaluation.compare import rank_scorer
from rechub_cli.runs import load_data, make_model
from rechub_cli.trainers.match_trainer import MatchTrainer
from rechub_cli.trainers.reporter import EpochResult, Reporter
from tests.benchmarks.peers.cases import MAX_LEN, NAMES, Quality
from tests.benchmarks.peers.samples import rows, save, sequences
from tests.benchmarks.peers.worker import train_whole
from tests.benchmarks.record import Row
from tests.benchmarks.synthetic import shipped
from tests.benchmarks.timing import now, row

METRIC = "ndcg@10"
LOOKS = (1 / 16, 1 / 8, 1 / 4, 1 / 2)
"""Of the first epoch; each is validated and counts as an epoch's end does. A run keeps weights of
epochs' ends alone."""


@dataclass(frozen=True)
class Point:
    """A look: seconds of training up to it, METRIC, and the epochs that are done."""

    seconds: float
    valid: float
    test: float
    epochs: float


def compare_quality(case: Quality, folder: str) -> list[Row]:
    config = shipped(f"recipe={case.recipe}", f"data.path={folder}", "export=none")
    data = load_data(config)[0]
    theirs = peer_points(case, data)
    best = max(theirs, key=lambda point: point.valid)
    watch = _Watch()
    trainer = make_trainer(config, make_model(config, data), run_dir=None, reporter=watch)
    ours = watch.points(trainer, data)
    chosen = max((p for p in ours if p.epochs >= 1), key=lambda point: point.valid)
    reached = next((point for point in ours if point.test >= best.test), None)
    recorded = "" if case.recorded is None else f" (known: {case.recorded:.4f})"
    note = (
        f"test NDCG@10: theirs {best.test:.4f}{recorded}, at epoch {best.epochs:g} of "
        f"{len(theirs)}; ours at {{:g}}, {chosen.test:.4f} in the end, after {chosen.seconds:.0f} s"
    )
    if reached is None:
        reached, note = ours[-1], f"NOT REACHED; {note}"
    against, (to_quality, whole_runs) = NAMES[case.peer], case.names
    seconds = [reached.seconds], against, [best.seconds]
    size = len(data.trained_items)
    scored = size, size if case.negatives is None else 1 + case.negatives
    own, other = (
        points[-1].seconds / (points[-1].epochs * pairs)  # of a target's pair
        for points, pairs in zip((ours, theirs), scored, strict=True)
    )
    targets = int(data.train_counts.sum())
    return [
        row(to_quality, *seconds, target=case.target, note=note.format(reached.epochs)),
        row(
            whole_runs,
            [own / targets],
            against,
            [other / targets],
            work=1,
            unit="pairs",
            target=case.pair_target,
            note=f"{scored[0]:,} pairs a target against {scored[1]:,}",
        ),
    ]


def peer_points(case: Quality, data: MatchData) -> list[Point]:
    options: dict[str, Any] = dict(case.options)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "samples.npz"
        if case.peer == "torch_rechub":
            assert case.negatives is not None
            pointwise = case.model == "dssm"
            if pointwise:
                options["batch_size"] *= 1 + case.negatives
            found = rows(data, max_len=MAX_LEN, negatives=case.negatives, pointwise=pointwise)
            save(found, file)
        else:
            save(sequences(data, max_len=MAX_LEN), file)
        train_whole(case.peer, case.theirs, file, options, folder=Path(scratch))
        files = sorted(Path(scratch).glob("[0-9]*.npz"), key=lambda epoch: int(epoch.stem))
        return [_point(np.load(file), data, epoch) for epoch, file in enumerate(files, start=1)]


def _point(found: Any, data: MatchData, epoch: int) -> Point:
    def figure(split: str) -> float:
        scores = torch.from_numpy(found[split])
        metrics, _ = rank_scorer(
            lambda part: scores[part].clone(), data, split=split, top_k=(10,), mask_seen=True
        )
        return metrics[METRIC]

    return Point(float(found["seconds"]), figure("valid"), figure("test"), epoch)


class _Watch(Reporter):
    """Looks after every epoch and within the first; ranking the test queries does not count."""

    def points(self, trainer: MatchTrainer, data: MatchData) -> list[Point]:
        self.trainer, self.data, self.found = trainer, data, list[Point]()
        self.seconds, self.began = 0.0, now()
        trainer.fit(data)
        return self.found

    def start(self, *, n_epoch: int, steps: int | None, monitor: str | None) -> None:
        assert steps is not None
        self.looks = {round(part * steps): part for part in LOOKS}

    def step(self, *, epoch: int, step: int, loss: float, rows: int) -> None:
        if epoch == 1 and step in self.looks:
            self._look(self.trainer.evaluate(self.data, split="valid"), self.looks[step])
            self.trainer.model.train()

    def epoch(self, result: EpochResult) -> None:
        self._look(result.metrics, result.epoch)

    def _look(self, valid: dict[str, float], epochs: float) -> None:
        self.seconds += now() - self.began
        test = self.trainer.evaluate(self.data, split="test", top_k=(10,))
        self.found.append(Point(self.seconds, valid[METRIC], test[METRIC], epochs))
        self.began = now()
