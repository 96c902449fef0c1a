"""Reading, encoding and splitting a table of N rows."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from rechub_cli.data.dataset import SplitOptions, make_split, training_events
from rechub_cli.data.encode import Encoder
from rechub_cli.data.feature_options import FeatureOptions
from rechub_cli.data.interactions import index_raw
from rechub_cli.data.readers import read_table
from tests.benchmarks.record import Row
from tests.benchmarks.synthetic import events
from tests.benchmarks.timing import Seconds, clock, row

NUM_ITEMS, EVENTS_A_USER = 50_000, 66
STAGES = ("read", "index", "split", "encode")
POLARS_TARGET = 1.5
"""Reading, indexing and splitting take at most so many times what polars takes."""


def ingest(rounds: int, *, num_rows: int) -> list[Row]:
    """Each stage, and all of them, against a bare read of the same file by pyarrow."""
    table = string_items(events(max(1, num_rows // EVENTS_A_USER), NUM_ITEMS, num_rows))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, write, read in (
            ("parquet", pq.write_table, pq.read_table),
            ("csv", pa_csv.write_csv, pa_csv.read_csv),
        ):
            file = Path(folder) / f"events.{kind}"
            write(table, file)
            seconds = _rounds(file, read, rounds=min(rounds, 3))
            for stage in (*STAGES, "all"):
                rows.append(
                    row(
                        f"ingest {kind}/{stage}",
                        seconds[stage],
                        "pyarrow's bare read",
                        seconds["bare"],
                        work=num_rows,
                        unit="rows",
                        note=f"{num_rows:,} rows",
                    )
                )
            if "polars" in seconds:
                ours = [sum(s) for s in zip(*(seconds[n] for n in STAGES[:3]), strict=True)]
                other = seconds["polars"]
                name = f"ingest {kind}/read, index, split"
                rows.append(row(name, ours, "polars", other, target=POLARS_TARGET))
            file.unlink()
    return rows


def string_items(table: pa.Table) -> pa.Table:
    """The same events in another order of rows, with item ids as a shop has them."""
    names = pc.binary_join_element_wise("sku-", pc.cast(table["item_id"], pa.string()), "")
    shuffled = np.random.default_rng(1).permutation(table.num_rows)
    return table.set_column(1, "item_id", names).take(shuffled)


def _rounds(file: Path, read: Callable[[Path], Any], *, rounds: int) -> Seconds:
    found: Seconds = {name: [] for name in ("bare", *STAGES, "all")}
    if importlib.util.find_spec("polars") is None:
        print("ingest: not held against polars, which is not installed", file=sys.stderr)
    else:
        found["polars"] = []
    for _ in range(rounds):
        found["bare"].append(clock(lambda: read(file)))
        stages = prepare_file(file)
        for name, seconds in stages.items():
            found[name].append(seconds)
        found["all"].append(sum(stages.values()))
        if "polars" in found:
            found["polars"].append(clock(lambda: _polars(file)))
    return found


def _polars(file: Path) -> None:
    """The same by polars, on one thread: user and time in one key, its fastest stable sort."""
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    polars = importlib.import_module("polars")
    read = polars.read_parquet if file.suffix == ".parquet" else polars.read_csv
    col = polars.col
    coded = read(file).with_columns(col("item_id").cast(polars.Categorical).to_physical())
    time = col("timestamp") - col("timestamp").min()
    ordered = coded.sort(col("user_id") * (1 << 28) + time, maintain_order=True)
    ordered.group_by("user_id", maintain_order=True).len()


def prepare_file(file: Path) -> dict[str, float]:
    """Read, index, split and encode it: the seconds of each."""
    made: dict[str, Any] = {}

    def index() -> None:
        made["tables"] = index_raw(made.pop("raw"))

    def split() -> None:
        made["split"] = make_split(made["tables"][0], SplitOptions(), seed=0)

    def encode() -> None:
        interactions, catalogue, users, _ = made["tables"]
        train = training_events(interactions, made["split"])
        encoder = Encoder(FeatureOptions(), embed_dim=64)
        made["encoded"] = encoder.encode(interactions, catalogue, users, train)

    works = (lambda: made.update(raw=read_table(file)), index, split, encode)
    return dict(zip(STAGES, map(clock, works), strict=True))
