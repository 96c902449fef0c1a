"""What both sides are fed: MovieLens 100k, leave-one-out. Ids of rows start at 1, 0 is padding."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rechub_cli.data.dataset import MatchData, training_events
from rechub_cli.data.interactions import Ints

Columns = dict[str, Ints]


def rows(
    data: MatchData, *, max_len: int, negatives: int, pointwise: bool, seed: int = 0
) -> Columns:
    """Padded columns, one row a training event (pointwise: and one a negative).

    history: the ``max_len`` most recent items, zeros in front. label: 1 or 0 where pointwise,
    else the place of the positive, 0. valid_history, test_history: of every user.
    """
    interactions = data.interactions
    events = training_events(interactions, data.split)
    user = interactions.users()[events]
    items = interactions.items.astype(np.int64) + 1
    size = (len(events), negatives)
    drawn = np.random.default_rng(seed).integers(1, interactions.num_items + 1, size=size)
    everyone, stop = np.arange(interactions.num_users), interactions.offsets[1:]
    others: Columns = {
        "num_items": np.array(interactions.num_items),
        "valid_history": _before(data, everyone, stop - 2, max_len),
        "test_history": _before(data, everyone, stop - 1, max_len),
    }
    columns = {
        "user_id": user + 1,
        "history": _before(data, user, events, max_len),
        "item_id": items[events],
    }
    if not pointwise:
        label = np.zeros(len(events), dtype=np.int64)
        return {**columns, "neg_items": drawn, "label": label, **others}
    pairs = {name: np.repeat(column, 1 + negatives, axis=0) for name, column in columns.items()}
    pairs["item_id"] = np.concatenate([items[events][:, None], drawn], axis=1).reshape(-1)
    pairs["label"] = np.tile([1, *[0] * negatives], len(events))
    return {**pairs, **others}


def _before(data: MatchData, user: Ints, event: Ints, max_len: int) -> Ints:
    """[E, max_len]: what each ``user`` has before the ``event``, zeros in front."""
    interactions = data.interactions
    items = interactions.items.astype(np.int64) + 1
    back = event[:, None] - np.arange(max_len, 0, -1)
    real = back >= interactions.offsets[user][:, None]
    return np.where(real, items[np.maximum(back, 0)], 0)


def sequences(data: MatchData, *, max_len: int) -> Columns:
    """Whole sequences, row numbers from 0, for libraries that split by themselves.

    items, offsets: CSR by user. sequence, positive: each user's last ``max_len`` training events
    that have one before them, and those, zeros behind.
    """
    interactions = data.interactions
    items, offsets = interactions.items.astype(np.int64), interactions.offsets
    windows = np.zeros((2, len(offsets) - 1, max_len), dtype=np.int64)
    for user, (first, stop) in enumerate(zip(offsets, data.split.train_end, strict=False)):
        train = items[first:stop][-max_len - 1 :] + 1
        windows[0, user, : len(train) - 1] = train[:-1]
        windows[1, user, : len(train) - 1] = train[1:]
    return {
        "items": items,
        "offsets": offsets,
        "num_items": np.array(interactions.num_items),
        "sequence": windows[0],
        "positive": windows[1],
    }


def save(columns: Columns, file: Path) -> None:
    np.savez(file, **columns)  # type: ignore[arg-type] # its stub takes none of many arrays
