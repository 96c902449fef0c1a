"""``make bench-peers``: training beside other libraries on one thread: speed, and whole runs."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from itertools import chain
from pathlib import Path

import torch

from rechub_cli.trainers.device import choose_matmul, keep_freed_memory
from tests.benchmarks.peers.cases import NAMES, QUALITIES, RANKINGS, SPEEDS
from tests.benchmarks.peers.quality import compare_quality
from tests.benchmarks.peers.ranking import compare_ranking
from tests.benchmarks.peers.speed import compare_speed
from tests.benchmarks.peers.table import RECORD, merge, render
from tests.benchmarks.record import Record, Row, machine, table
from tests.readme import write

KINDS = ("speed", "quality", "ranking")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.peers", description=__doc__)
    parser.add_argument("--peer", choices=NAMES, nargs="+", default=list(NAMES))
    models = sorted({case.model for case in (*SPEEDS, *RANKINGS)})
    parser.add_argument("--only", nargs="+", choices=models, help="models; default: all")
    parser.add_argument("--kind", choices=KINDS, help="default: all")
    words = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as ``rechub train`` does
    choose_matmul()
    home = Path(os.environ.get("RECHUB_TEST_DATA", "../shared/data")).resolve()
    folder = str(home / "ml-100k")
    work = {
        "speed": [(case, partial(compare_speed, case, folder)) for case in SPEEDS],
        "quality": [(case, partial(compare_quality, case, folder)) for case in QUALITIES],
        "ranking": [(case, partial(compare_ranking, case)) for case in RANKINGS],
    }
    rows: list[Row] = []
    for case, compare in chain(*(work[kind] for kind in KINDS if words.kind in (None, kind))):
        if case.peer in words.peer and (not words.only or case.model in words.only):
            found = compare()
            print(table(found), file=sys.stderr, flush=True)
            rows += found
            before = Record.load(RECORD).rows if RECORD.exists() else []
            merge(Record(before, machine()), rows).save(RECORD)
    if not rows:
        parser.error("no case is of such a model, peer and kind")
    print(table(rows))
    write(render(Record.load(RECORD)))
    print(f"wrote {RECORD} and README's table")
    return 0


if __name__ == "__main__":
    sys.exit(main())
