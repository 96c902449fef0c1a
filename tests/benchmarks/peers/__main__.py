"""``make bench-peers``: training beside other libraries on one thread: speed, and whole runs."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import torch

from tests.benchmarks.peers.cases import NAMES, QUALITIES, SPEEDS
from tests.benchmarks.peers.quality import compare_quality
from tests.benchmarks.peers.speed import compare_speed
from tests.benchmarks.peers.table import RECORD, merge, write_readme
from tests.benchmarks.record import Record, machine, table


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.peers", description=__doc__)
    parser.add_argument("--peer", choices=NAMES, nargs="+", default=list(NAMES))
    models = sorted({case.model for case in SPEEDS})
    parser.add_argument("--only", nargs="+", choices=models, help="models; default: all")
    parser.add_argument("--kind", choices=("speed", "quality"), help="default: both")
    words = parser.parse_args()
    torch.set_num_threads(1)
    home = Path(os.environ.get("RECHUB_TEST_DATA", "../shared/data")).resolve()
    folder = str(home / "ml-100k")
    rows = []
    for kind, cases, compare in (
        ("speed", SPEEDS, compare_speed),
        ("quality", QUALITIES, compare_quality),
    ):
        for case in cases if words.kind in (None, kind) else ():
            if case.peer in words.peer and (not words.only or case.model in words.only):
                rows.append(compare(case, folder))  # type: ignore[operator] # by kind
                print(table(rows[-1:]), file=sys.stderr, flush=True)
                before = Record.load(RECORD).rows if RECORD.exists() else []
                merge(Record(before, machine()), rows).save(RECORD)
    if not rows:
        parser.error("no case is of such a model, peer and kind")
    print(table(rows))
    write_readme()
    print(f"wrote {RECORD} and README's table")
    return 0


if __name__ == "__main__":
    sys.exit(main())
