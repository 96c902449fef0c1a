"""The same training samples for both sides: MovieLens 100k, leave-one-out, 3 negatives each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from rechub_cli.data.dataset import MatchData, training_events

NEGATIVES = 3
Columns = dict[str, npt.NDArray[np.int64]]


def samples(data: MatchData, *, max_len: int, pointwise: bool, seed: int = 0) -> Columns:
    """Padded columns, one row a training event (pointwise: and one a negative). Ids start at 1.

    history: the ``max_len`` most recent items, zeros in front. label: 1 or 0 where pointwise,
    else the place of the positive, 0.
    """
    interactions = data.interactions
    events = training_events(interactions, data.split)
    user = interactions.users()[events]
    items = interactions.items.astype(np.int64) + 1
    back = events[:, None] - np.arange(max_len, 0, -1)
    real = back >= interactions.offsets[user][:, None]
    history = np.where(real, items[np.maximum(back, 0)], 0)
    size = (len(events), NEGATIVES)
    drawn = np.random.default_rng(seed).integers(1, interactions.num_items + 1, size=size)
    columns = {"user_id": user + 1, "history": history, "item_id": items[events]}
    if not pointwise:
        return {**columns, "neg_items": drawn, "label": np.zeros(len(events), dtype=np.int64)}
    rows = {name: np.repeat(column, 1 + NEGATIVES, axis=0) for name, column in columns.items()}
    rows["item_id"] = np.concatenate([items[events][:, None], drawn], axis=1).reshape(-1)
    rows["label"] = np.tile([1, *[0] * NEGATIVES], len(events))
    return rows


def save(columns: Columns, file: Path) -> None:
    np.savez(file, **columns)
