"""``rechub check``: compose, read, split and report, without training."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from rechub_cli.commands.printout import print_data
from rechub_cli.config.schema import RunConfig
from rechub_cli.progress import result_console
from rechub_cli.runs import load_data

PER_SECOND = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}


def run(config: RunConfig) -> None:
    """Print counts, time range, ties, repeats, cold share and what each filter removed."""
    data, _ = load_data(config)
    console = result_console()
    print_data(console, data, mask_seen=config.evaluation.mask_seen)
    table = Table(box=None, show_header=False, pad_edge=False)
    for key, value in data.report().items():
        table.add_row(key.replace("_", " "), _text(value))
    if data.interactions.timestamps is not None:
        ends = data.interactions.timestamps.min(), data.interactions.timestamps.max()
        table.add_row(
            "time range", " to ".join(_date(int(t), data.about.timestamp_unit) for t in ends)
        )
    console.print(table)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_text(v)}" for k, v in value.items())
    return f"{value:,}" if isinstance(value, (int, float)) else str(value)


def _date(time: int, unit: str | None) -> str:
    if unit not in PER_SECOND:
        return str(time)
    try:
        return datetime.fromtimestamp(time / PER_SECOND[unit], UTC).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return f"{time} (no date in {unit})"
