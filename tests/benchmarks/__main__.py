"""``make bench``: run the benchmarks, print their table, write their record."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import pyarrow as pa
import torch

from rechub_cli.trainers.device import choose_matmul, keep_freed_memory
from tests.benchmarks.record import Record, machine, table
from tests.benchmarks.suite import INGEST_ROWS, ROUNDS, benchmarks


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"), help="the record")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=list(benchmarks()))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--ingest-rows", type=int, default=INGEST_ROWS)
    words = parser.parse_args()
    torch.set_num_threads(1)
    pa.set_cpu_count(1)
    choose_matmul()  # the bare products are those that training has
    keep_freed_memory()  # as ``rechub train`` does
    record = Record(machine=machine())
    for name, run in benchmarks(ingest_rows=words.ingest_rows).items():
        if words.only and name not in words.only:
            continue
        start = time.perf_counter()
        record.rows += run(words.rounds)
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    record.machine["load_average_after"] = round(os.getloadavg()[0], 2)
    record.save(words.out)
    print(table(record.rows))
    print(f"wrote {words.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
