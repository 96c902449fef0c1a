"""The gate of an export: the files must give the model's own numbers and top lists.

B rows, K interests, D width, I items of a block: the catalogue is compared in blocks.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import torch
from torch import Tensor

from rechub_cli.data.batches import HistoryGather
from rechub_cli.data.dataset import MatchData
from rechub_cli.errors import GateError
from rechub_cli.evaluation.model_scores import BLOCK_ROWS
from rechub_cli.export.contract import tower_inputs
from rechub_cli.models.matching.base import MatchingModel

SHAPES = ((1, 1), (7, 3), (64, 10_000))
"""(batch size, longest history) of the re-runs; none is the shape of the trace."""
TOP = 10
SLACK = 1e-5
"""Scores nearer than this share of the largest are equal: rounding may order them either way."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Parity:
    """max_difference: of a coordinate. overlap: mean share of the files' top 10 that the model
    has in its own, equal scores aside.
    rows: users compared. repeatable: the same input twice gave the same bytes."""

    max_difference: float
    overlap: float
    rows: int
    repeatable: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Tower:
    """An exported tower in onnxruntime (one thread)."""

    def __init__(self, path: Path) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.names = [i.name for i in self.session.get_inputs()]

    def __call__(self, batch: dict[str, Tensor]) -> Floats:
        feed = {name: batch[name].numpy() for name in self.names}
        out: Floats = self.session.run(None, feed)[0]
        return out


@torch.no_grad()
def compare_towers(model: MatchingModel, data: MatchData, folder: Path) -> Parity:
    """Run both files of ``folder`` on held-out rows at the batch sizes and lengths of SHAPES."""
    model.eval()
    user_tower, item_tower = (Tower(folder / f"{side}_tower.onnx") for side in ("user", "item"))
    differences: list[float] = []
    repeatable = True

    def both(tower: Tower, own: torch.nn.Module, batch: dict[str, Tensor]) -> tuple[Floats, Floats]:
        nonlocal repeatable
        theirs, ours = tower(batch), own(batch).numpy()
        differences.append(float(np.abs(theirs - ours).max()))
        repeatable &= np.array_equal(theirs, tower(batch))
        return theirs, ours

    batches = (_held_out(model, data, rows, longest) for rows, longest in SHAPES)
    lists = [_TopLists(*both(user_tower, model.user_tower, batch)) for batch in batches]
    for first in range(0, len(data.catalogue), BLOCK_ROWS):
        part = slice(first, min(first + BLOCK_ROWS, len(data.catalogue)))
        block = {name: tensor[part] for name, tensor in data.encoded.item.items()}
        vectors = both(item_tower, model.item_tower, block)
        for found in lists:
            found.add(*vectors)
    overlaps = np.concatenate([found.overlaps() for found in lists])
    # NaN stays the largest.
    return Parity(float(np.max(differences)), float(overlaps.mean()), len(overlaps), repeatable)


def check_parity(parity: Parity, *, tolerance: float, min_overlap: float) -> None:
    """Raise GateError where the exported towers are not the model's.

    tolerance: largest difference of a coordinate. min_overlap: smallest mean top-10 overlap.
    """
    problems = []
    # Written so that NaN fails.
    if not parity.max_difference <= tolerance:
        problems.append(f"vectors differ by {parity.max_difference:.2e}, allowed {tolerance:.0e}")
    if not parity.overlap >= min_overlap:
        problems.append(f"the top {TOP} overlap by {parity.overlap:.4f}, needed {min_overlap}")
    if not parity.repeatable:
        problems.append("two runs on one input differ")
    if problems:
        raise GateError("the ONNX towers are not the model's: " + "; ".join(problems))


def _held_out(model: MatchingModel, data: MatchData, rows: int, longest: int) -> dict[str, Tensor]:
    queries = data.split.test
    gather = HistoryGather(
        data.interactions,
        data.encoded,
        max_len=min(longest, data.options.max_len),
        distinct=False,
    )
    # The last users, so that the rows are not those of a small sample's start.
    chosen = slice(max(len(queries) - rows, 0), None)
    batch = gather(
        torch.from_numpy(queries.user[chosen]), torch.from_numpy(queries.history_end[chosen])
    )
    return {s.name: batch[s.name] for s in tower_inputs(model, "user")}


class _TopLists:
    """The best items so far of the same users by two pairs of towers.

    users, others: their vectors by the first and by the second pair, [B, D] or [B, K, D].
    """

    def __init__(self, users: Floats, others: Floats) -> None:
        self.users, self.others = users, others
        self.top = self.same = self.best = np.empty((len(users), 0), dtype=np.float32)
        """Scores [B, TOP]: of the first pair's top, of the same items by the second, and of the
        second's own top, ascending."""
        self.largest: Floats = np.zeros(len(users), dtype=np.float32)

    def add(self, items: Floats, others: Floats) -> None:
        """A further block of items, [I, D] by each pair."""
        by_first, by_second = _scores(self.users, items), _scores(self.others, others)
        first, second = np.hstack([self.top, by_first]), np.hstack([self.same, by_second])
        order = np.argsort(-first, axis=1, kind="stable")[:, :TOP]
        self.top, self.same = (np.take_along_axis(a, order, axis=1) for a in (first, second))
        self.best = np.sort(np.hstack([self.best, by_second]), axis=1)[:, -TOP:]
        self.largest = np.maximum(self.largest, np.abs(by_second).max(axis=1))

    def overlaps(self) -> Floats:
        """Of each user, the share of the first pair's top that is in the second's."""
        least = self.best[:, 0] - SLACK * self.largest
        found: Floats = (self.same >= least[:, None]).mean(axis=1)
        return found


def _scores(users: Floats, items: Floats) -> Floats:
    scores: Floats = users @ items.T  # [B, I] or [B, K, I]
    return scores.max(axis=1) if scores.ndim == 3 else scores
