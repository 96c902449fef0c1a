"""One-line faults, each of which the tests must see: `make mutations` (minutes).

Every model has its five: mask, softmax axis, detach, alignment, temperature.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.mutation
ROOT = Path(__file__).resolve().parents[2]
CONTRACT, PARITY, EXPORT = "tests/contract", "tests/parity", "tests/export"
HISTORY, CAPSULE, BASE = "layers/history.py", "layers/capsule.py", "models/matching/base.py"


@dataclass(frozen=True)
class Mutation:
    """In ``file`` of the package ``old`` becomes ``new``; ``tests`` (for ``model``) must fail."""

    model: str
    fault: str
    file: str
    old: str
    new: str
    tests: str = PARITY

    def __str__(self) -> str:
        return f"{self.model}-{self.fault}".replace(" ", "_")


SCORES = ("products / self.temperature", "products / 1.0")
RECENT = ("lengths.unsqueeze(-1) - 1 - steps", "steps.expand(len(lengths), -1)")
MUTATIONS = (
    Mutation("dssm", "mask", HISTORY, "weights = mask.to(", "weights = torch.ones_like(mask).to("),
    Mutation(
        "dssm", "softmax axis", HISTORY, "softmax(scores, dim=-1)", "softmax(scores, dim=0)",
        CONTRACT,
    ),
    Mutation(
        "dssm", "detach", "models/matching/dssm.py", "self.columns(batch), lengths)",
        "self.columns(batch).detach(), lengths)",
    ),
    Mutation("dssm", "alignment", HISTORY, *RECENT, CONTRACT),
    Mutation("dssm", "temperature", BASE, *SCORES),
    Mutation(
        "youtube_dnn", "mask", HISTORY, "softmax(scores, dim=-1) * mask", "softmax(scores, dim=-1)"
    ),
    Mutation(
        "youtube_dnn", "softmax axis", HISTORY, "softmax(scores, dim=-1)", "softmax(scores, dim=0)"
    ),
    Mutation(
        "youtube_dnn", "detach", "models/matching/youtube_dnn.py",
        "self.pooling(self.history(batch), lengths)",
        "self.pooling(self.history(batch).detach(), lengths)",
    ),
    Mutation("youtube_dnn", "alignment", HISTORY, *RECENT),
    Mutation("youtube_dnn", "temperature", BASE, *SCORES, CONTRACT),
    Mutation(
        "mind", "mask", CAPSULE, "strength = mask.to(", "strength = torch.ones_like(mask).to("
    ),
    Mutation("mind", "softmax axis", CAPSULE, "dim=1\n", "dim=2\n"),
    Mutation("mind", "detach", CAPSULE, "used, strength, mapped)", "used, strength, fixed)"),
    Mutation("mind", "alignment", HISTORY, *RECENT),
    Mutation("mind", "temperature", BASE, *SCORES, CONTRACT),
    Mutation(
        "mind", "unused interests", CAPSULE, "interests, interests[:, :1])", "interests, 0.0)"
    ),
    Mutation("mind", "last gradient only", CAPSULE, "fixed = mapped.detach()", "fixed = mapped"),
    Mutation(
        "mind", "hard selection", BASE, ").argmax(dim=1)", ").argmin(dim=1)"
    ),
    Mutation(
        "loss", "full softmax axis", "trainers/losses.py", "probability.sum(dim=1, keepdim=True)",
        "probability.sum(dim=0, keepdim=True)",
    ),
    Mutation(
        "loss", "accidental hits", "trainers/losses.py",
        "negative = negative.masked_fill(excluded, -torch.inf)", "pass",
    ),
    Mutation(
        "loss", "logQ sign", "trainers/losses.py", "scores - expected_count.log()",
        "scores + expected_count.log()",
    ),
    Mutation(
        "trainer", "best is a copy", "trainers/checkpoint.py",
        ".clone(memory_format=torch.contiguous_format)", "", "tests/trainers",
    ),
    Mutation(
        "ranking", "ties against", "evaluation/ranking.py", "others >= mine", "others > mine",
        "tests/evaluation",
    ),
    Mutation(
        "export", "machine's paths", "export/onnx.py", "    _clean(proto)\n", "", EXPORT
    ),
)  # fmt: skip


@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_a_fault_turns_a_test_red(mutation: Mutation, tmp_path: Path) -> None:
    for folder in ("rechub_cli", "conf", "tests"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    file = tmp_path / "rechub_cli" / mutation.file
    text = file.read_text()
    assert mutation.old in text, "the line has changed: renew the mutation"
    file.write_text(text.replace(mutation.old, mutation.new))
    chosen = [] if mutation.tests != CONTRACT else ["-k", mutation.model]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", mutation.tests, *chosen],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, f"not seen:\n{done.stdout[-2000:]}"
