"""The gate of an export: the files must give the model's own numbers and top lists.

B rows, K interests, D width, I catalogue.
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
    items = {name: t[:-1] for name, t in data.encoded.item.items()}
    theirs, ours = item_tower(items), model.item_tower(items).numpy()
    worst = _difference(theirs, ours)
    repeatable = bool(np.array_equal(theirs, item_tower(items)))
    overlaps: list[float] = []
    for rows, longest in SHAPES:
        batch = _held_out(model, data, rows, longest)
        user_theirs, user_ours = user_tower(batch), model.user_tower(batch).numpy()
        worst = max(worst, _difference(user_theirs, user_ours))
        repeatable &= bool(np.array_equal(user_theirs, user_tower(batch)))
        overlaps += _overlaps(user_theirs, theirs, user_ours, ours)
    return Parity(worst, float(np.mean(overlaps)), len(overlaps), repeatable)


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


def _difference(a: Floats, b: Floats) -> float:
    return float(np.abs(a - b).max())


def _overlaps(users: Floats, items: Floats, users_b: Floats, items_b: Floats) -> list[float]:
    """Of each user, the share of the first pair's top list that is in the second's."""
    first, second = _scores(users, items), _scores(users_b, items_b)
    top = np.argsort(-first, axis=1, kind="stable")[:, :TOP]
    least = np.sort(second, axis=1)[:, -top.shape[1]] - SLACK * np.abs(second).max(axis=1)
    inside = np.take_along_axis(second, top, axis=1) >= least[:, None]
    return [float(share) for share in inside.mean(axis=1)]


def _scores(users: Floats, items: Floats) -> Floats:
    scores: Floats = users @ items.T  # [B, I] or [B, K, I]
    return scores.max(axis=1) if scores.ndim == 3 else scores
