"""What a benchmark run records, and the table of it."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

FORMAT = 1


@dataclass(frozen=True)
class Row:
    """One measured thing. Smaller ratios are better.

    name: ``group/what``, unique in a run. seconds: median of one go (see timing). ratio: median
    over rounds of the seconds of this and of ``against`` in the same round. spread: half the
    distance between the quartiles of that ratio, as a part of it. rounds: how often both were
    timed. rate, unit: work a second, where it can be counted. target: the largest ratio that is
    good enough, where one is set.
    """

    name: str
    seconds: float
    ratio: float
    against: str
    spread: float
    rounds: int
    rate: float | None = None
    unit: str | None = None
    target: float | None = None
    note: str = ""


@dataclass
class Record:
    """All rows of one run and the machine that it ran on."""

    rows: list[Row] = field(default_factory=list)
    machine: dict[str, Any] = field(default_factory=dict)

    def save(self, file: Path) -> None:
        content = {
            "format": FORMAT,
            "machine": self.machine,
            "rows": [asdict(r) for r in self.rows],
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content, indent=1) + "\n")

    @classmethod
    def load(cls, file: Path) -> Record:
        """Raises ValueError where the file is no record of this format or a name is twice in it."""
        content = json.loads(file.read_text())
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError(f"{file} is no benchmark record of format {FORMAT}")
        rows = [Row(**row) for row in content["rows"]]
        if len({row.name for row in rows}) < len(rows):
            raise ValueError(f"{file} holds a name twice")
        return cls(rows, content["machine"])


def machine() -> dict[str, Any]:
    """Where a run takes place; the load says whether other jobs ran beside it."""
    return {
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__.partition("+")[0],
        "load_average": round(os.getloadavg()[0], 2),
    }


def table(rows: list[Row]) -> str:
    """The rows as aligned text."""
    lines = [("what", "seconds", "rate", "ratio", "target", "spread", "against")]
    lines += [_cells(row) for row in rows]
    widths = [max(len(line[n]) for line in lines) for n in range(len(lines[0]))]
    left = (0, len(widths) - 1)
    return "\n".join(
        "  ".join(
            cell.ljust(width) if n in left else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _cells(row: Row) -> tuple[str, ...]:
    target = "" if row.target is None else f"<= {row.target:g}"
    return (
        row.name,
        f"{row.seconds:.4g}",
        "" if row.rate is None else f"{row.rate:,.0f} {row.unit}/s",
        f"{row.ratio:.3g}",
        target if row.target is None or row.ratio <= row.target else f"{target} MISSED",
        f"{row.spread:.0%}",
        row.against + (f" ({row.note})" if row.note else ""),
    )
