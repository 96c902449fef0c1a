"""``make bench-estimate``: what ``rechub estimate`` says of a run against the run itself.

Both take the processor's time on one thread for the clock's, so that other jobs change neither.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
import tempfile
import time
from pathlib import Path
from statistics import mean

from rechub_cli.commands import estimate, train
from rechub_cli.config.schema import RunConfig
from rechub_cli.registry import list_models
from tests.benchmarks.record import machine
from tests.benchmarks.synthetic import shipped

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


def compare(name: str, words: list[str]) -> dict[str, object]:
    """One model: an estimate before the run and one after it."""
    config = shipped(f"model={name}", "trainer.n_epoch=1", *words)
    before, found, after = estimated(config), taken(config), estimated(config)
    said = mean((before, after))
    return {"model": name, "estimated": said, "taken": found, "error": said / found - 1}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.estimates", description=__doc__
    )
    parser.add_argument("--out", type=Path, default=Path("build/estimates.json"), help="the record")
    parser.add_argument("--models", nargs="+", default=[entry.name for entry in list_models()])
    parser.add_argument("words", nargs="*", help="of rechub estimate, e.g. data=ml_1m data.path=..")
    given = parser.parse_args()
    time.perf_counter = time.process_time  # what the estimate reads
    rows = []
    for name in given.models:
        rows.append(compare(name, given.words))
        verdict = "" if abs(rows[-1]["error"]) <= GOOD else "  MISSED"
        print(
            "{model}: estimated {estimated:.1f} s, taken {taken:.1f} s, {error:+.0%}".format_map(
                rows[-1]
            )
            + verdict,
            flush=True,
        )
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
