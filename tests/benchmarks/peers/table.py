"""README's table of the other libraries, made from peers.json."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.peers.cases import NAMES, QUALITIES, RANKINGS, SPEEDS
from tests.benchmarks.record import Record, Row
from tests.readme import marked

RECORD = Path(__file__).with_suffix("").parent.with_suffix(".json")
HEAD = ("beside", "model", "ours", "theirs", "time, theirs = 1", "goal", "")


def merge(record: Record, rows: list[Row]) -> Record:
    """The record with some rows new, in the order of the cases."""
    known = {row.name: row for row in (*record.rows, *rows)}
    return Record([known[name] for name in row_names() if name in known], record.machine)


def row_names() -> list[str]:
    """Of all rows that the cases give."""
    speeds = [case.name for case in SPEEDS]
    first, second = zip(*(case.names for case in QUALITIES), strict=True)
    return [*speeds, *first, *second, *(case.name for case in RANKINGS)]


def render(record: Record) -> str:
    """The README's part between the marks."""
    lines = [_cells(HEAD), _cells(("---",) * len(HEAD))]
    lines += [_cells(_line(row)) for row in record.rows]
    found = record.machine
    where = f"Measured on {found['cores']} {found['processor']} cores, torch {found['torch']}"
    return marked("peers", [*lines, "", f"{where}, other jobs beside it."])


def _line(row: Row) -> tuple[str, ...]:
    peer, _, model = row.name.partition("/")
    if row.rate is None:
        ours, theirs = f"{row.seconds:,.1f} s", f"{row.seconds / row.ratio:,.1f} s"
    else:
        ours, theirs = f"{row.rate:,.0f} {row.unit}/s", f"{row.rate * row.ratio:,.0f}"
    goal = "" if row.target is None else f"{row.target:.3g}"
    return NAMES[peer], model, ours, theirs, f"{row.ratio:.3g}", goal, row.note


def _cells(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"
