"""README's table of the curves, made from curves.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.readme import marked

RECORD = Path(__file__).with_name("curves.json")
MEMORY_GIB = 24
TITLES = {
    "items": "a step by items: YoutubeDNN, vectors of 64, 512 rows, 1,024 uniform negatives, "
    "rowwise_adagrad",
    "history": "a step by history length: SASRec, windows of about 2,048 targets, full softmax",
    "interests": "a step by interests: MIND, 512 rows, full softmax",
    "batch": "a step by rows: YoutubeDNN, full softmax",
    "threads": "a step by threads, by the clock on the wall (only idle cores help): YoutubeDNN",
    "rows": "preparation by rows of Parquet: read, encode, split; 50,000 string items",
}
UNITS = ((1_000_000, "M"), (1_000, "k"))


def load() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(RECORD.read_text())
    return content


def render(recorded: dict[str, Any]) -> str:
    """The README's part between the marks."""
    lines = ["| what grows | sizes | time, the first = 1 | peak MiB |", "|---|---|---|---|"]
    lines += [_line(title, _curve(recorded, name)) for name, title in TITLES.items()]
    largest = _curve(recorded, "items")[-1]
    fits = "yes" if largest["peak_mib"] < 1024 * MEMORY_GIB else "no"
    lines.append(
        f"| {_short(largest['size'])} items x 64 train on {MEMORY_GIB} GB, sampled loss, optimizer "
        f"state and best epoch included | | {fits} | {largest['peak_mib']:,} |"
    )
    found = recorded["machine"]
    where = f"Measured on {found['cores']} {found['processor']} cores, torch {found['torch']}"
    lines += ["", f"{where}, other jobs beside it (load {found['load_average']})."]
    return marked("curves", lines)


def _curve(recorded: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return sorted((p for p in recorded["points"] if p["curve"] == name), key=lambda p: p["size"])


def _line(title: str, points: list[dict[str, Any]]) -> str:
    first = points[0]["matmuls"]
    times = [f"{p['matmuls'] / first:.3g}" for p in points]
    peaks = [f"{p['peak_mib']:,}" for p in points if p["peak_mib"] is not None]
    sizes = [_short(p["size"]) for p in points]
    return f"| {title} | {' / '.join(sizes)} | {' / '.join(times)} | {' / '.join(peaks)} |"


def _short(size: int) -> str:
    for unit, letter in UNITS:
        if size >= 10 * unit or size >= unit and size % unit == 0:
            return f"{size / unit:g}{letter}"
    return str(size)
