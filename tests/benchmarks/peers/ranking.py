"""Users a second of a whole catalogue's ranking, of ours and of implicit in turn."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from rechub_cli.data.dataset import MatchData
from rechub_cli.data.splits import Queries
from tests.benchmarks.peers.cases import NAMES, Ranking
from tests.benchmarks.peers.samples import save
from tests.benchmarks.peers.worker import Worker
from tests.benchmarks.ranked import Ranked
from tests.benchmarks.record import Row
from tests.benchmarks.timing import clock, row

ROUNDS = range(6)
"""The first does not count."""


def compare_ranking(case: Ranking) -> list[Row]:
    """Both make the lists without the items of the users' histories; ours ranks a target too."""
    ranked = Ranked.random(num_items=case.num_items, users=case.users, width=case.width)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "vectors.npz"
        vectors = {"users": ranked.users.numpy(), "items": ranked.items.numpy()}
        save({**vectors, **histories(ranked.data, ranked.queries)}, file)
        worker = Worker(case.peer, "ranking", file, {"top": case.top})
        try:
            pairs = [(clock(lambda: ranked.rank(case.top)), worker.train(1)[0]) for _ in ROUNDS]
        finally:
            worker.close()
    own, other = zip(*pairs[1:], strict=True)
    note = f"{case.users:,} users, lists of {case.top}"
    against = NAMES[case.peer]
    return [
        row(case.name, list(own), against, list(other), work=case.users, unit="users", note=note)
    ]


def histories(data: MatchData, queries: Queries) -> dict[str, np.ndarray]:
    """The items before each query, as CSR: ``seen`` int32, ``offsets`` int32."""
    start = data.interactions.offsets[queries.user]
    ranges = zip(start, queries.history_end, strict=True)
    seen = [data.interactions.items[first:end] for first, end in ranges]
    offsets = np.cumsum([0, *map(len, seen)], dtype=np.int32)
    return {"seen": np.concatenate(seen).astype(np.int32), "offsets": offsets}
