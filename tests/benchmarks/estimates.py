"""``make bench-estimate``: what ``rechub estimate`` says of a run against the run itself, into
estimates.json and README's table.

Both take the processor's time on one thread for the clock's, so that other jobs change neither.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

from rechub_cli.commands import estimate, train
from rechub_cli.config.schema import RunConfig
from rechub_cli.registry import list_models
from tests.benchmarks.record import machine
from tests.benchmarks.synthetic import shipped
from tests.readme import marked, write

RECORD = Path(__file__).with_suffix(".json")
SECONDS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
GOOD = 0.2
"""The largest error that is good enough, as a share of the run."""


def estimated(config: RunConfig) -> float:
    """Seconds of the run as the command prints them."""
    said = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(said):
        estimate.run(config, Path(folder))
    found = re.search(r"the run +(?:at most )?([\d.]+) (\w+) for", said.getvalue())
    assert found is not None, said.getvalue()
    return float(found[1]) * SECONDS[found[2]]


def taken(config: RunConfig) -> float:
    """Seconds of the run."""
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        train.run(config, Path(folder) / "run")
    return time.process_time() - start


def compare(name: str, folder: Path) -> dict[str, Any]:
    """One model: an estimate before the run and one after it."""
    words = f"model={name}", "trainer.n_epoch=1", "data=ml_1m", f"data.path={folder}"
    config = shipped(*words)
    before, found, after = estimated(config), taken(config), estimated(config)
    return {"model": name, "estimated": mean((before, after)), "taken": found}


def error(row: Mapping[str, Any]) -> float:
    return float(row["estimated"] / row["taken"] - 1)


def render(recorded: Mapping[str, Any]) -> str:
    """README's part."""
    lines = ["| model | estimated s | taken s | error |", "|---|---|---|---|"]
    lines += [
        f"| {row['model']} | {row['estimated']:.1f} | {row['taken']:.1f} | {error(row):+.0%} |"
        for row in recorded["rows"]
    ]
    found = recorded["machine"]
    where = f"{found['cores']} {found['processor']} cores, torch {found['torch']}"
    return marked("estimates", [*lines, "", f"Measured on {where}, other jobs beside it."])


def load() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(RECORD.read_text()) if RECORD.exists() else {"rows": []}
    return content


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.estimates", description=__doc__
    )
    models = [entry.name for entry in list_models()]
    parser.add_argument("--only", nargs="+", choices=models, default=models, help="default: all")
    given = parser.parse_args()
    home = Path(os.environ.get("RECHUB_TEST_DATA", "../shared/data")).resolve()
    time.perf_counter = time.process_time  # what the estimate reads
    for name in given.only:
        found = compare(name, home / "ml-1m")
        rows = [row for row in load()["rows"] if row["model"] != name] + [found]
        rows.sort(key=lambda row: models.index(row["model"]))
        RECORD.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
        verdict = "" if abs(error(found)) <= GOOD else "  MISSED"
        print(
            f"{name}: estimated {found['estimated']:.1f} s, taken {found['taken']:.1f} s, "
            f"{error(found):+.0%}{verdict}",
            flush=True,
        )
    write(render(load()))


if __name__ == "__main__":
    main()
