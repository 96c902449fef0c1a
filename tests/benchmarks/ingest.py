"""Reading, encoding and splitting a table of N rows."""

from __future__ import annotations

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
from rechub_cli.data.encode import Encoder, FeatureOptions
from rechub_cli.data.interactions import index_raw
from rechub_cli.data.readers import read_table
from tests.benchmarks.record import Row
from tests.benchmarks.synthetic import events
from tests.benchmarks.timing import Seconds, clock, row

NUM_ITEMS, EVENTS_A_USER = 50_000, 66
STAGES = ("read", "index", "split", "encode")


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
            file.unlink()
    return rows


def string_items(table: pa.Table) -> pa.Table:
    """The same events in another order of rows, with item ids as a shop has them."""
    names = pc.binary_join_element_wise("sku-", pc.cast(table["item_id"], pa.string()), "")
    shuffled = np.random.default_rng(1).permutation(table.num_rows)
    return table.set_column(1, "item_id", names).take(shuffled)


def _rounds(file: Path, read: Callable[[Path], Any], *, rounds: int) -> Seconds:
    found: Seconds = {name: [] for name in ("bare", *STAGES, "all")}
    for _ in range(rounds):
        found["bare"].append(clock(lambda: read(file)))
        stages = prepare_file(file)
        for name, seconds in stages.items():
            found[name].append(seconds)
        found["all"].append(sum(stages.values()))
    return found


def prepare_file(file: Path) -> dict[str, float]:
    """Read, index, split and encode it: the seconds of each."""
    made: dict[str, Any] = {}

    def index() -> None:
        made["tables"] = index_raw(made["raw"])

    def split() -> None:
        made["split"] = make_split(made["tables"][0], SplitOptions(), seed=0)

    def encode() -> None:
        interactions, catalogue, users, _ = made["tables"]
        train = training_events(interactions, made["split"])
        encoder = Encoder(FeatureOptions(), embed_dim=64)
        made["encoded"] = encoder.encode(interactions, catalogue, users, train)

    works = (lambda: made.update(raw=read_table(file)), index, split, encode)
    return dict(zip(STAGES, map(clock, works), strict=True))
