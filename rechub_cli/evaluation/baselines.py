"""What every run is printed beside: popularity, the floor, and sequential rules, the reference.

Both are counted over training events only. b queries of a block, I items.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rechub_cli.data.interactions import Interactions, Ints
from rechub_cli.data.splits import Queries
from rechub_cli.evaluation.ranking import Scorer, ragged

SHRINKAGE = 5.0
POPULARITY_SHARE = 0.001
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Popularity:
    """The same list for everybody: items by their training events. share: float64 [I]."""

    share: Floats

    @classmethod
    def fit(cls, interactions: Interactions, train_end: Ints) -> Popularity:
        _, events = _training(interactions, train_end)
        counts = np.bincount(interactions.items[events], minlength=interactions.num_items)
        return cls(counts / counts.sum())

    def scorer(self, queries: Queries) -> Scorer:
        share = torch.from_numpy(self.share)
        return lambda rows: share.repeat(len(range(*rows.indices(len(queries)))), 1)


@dataclass(frozen=True)
class SequentialRules:
    """Which item follows which (after Ludewig and Jannach 2018, section 3.1.2: SR).

    M[a, b] = sum of 1/d over training pairs with b at distance d <= window after a; each row
    divided by (its sum + 5). score(b) = sum over j < history of decay^j M[h(-1-j), b]
    + 0.001 x popularity share of b. Stored as CSR.
    """

    offsets: Ints
    columns: Ints
    values: Floats
    share: Floats
    interactions: Interactions
    history: int
    decay: float

    @classmethod
    def fit(
        cls,
        interactions: Interactions,
        train_end: Ints,
        *,
        window: int = 10,
        history: int = 10,
        decay: float = 0.8,
    ) -> SequentialRules:
        """window: longest distance W. history: last items that are asked, H."""
        owner, events = _training(interactions, train_end)
        num = interactions.num_items
        items = interactions.items[events].astype(np.int64)
        keys = np.empty(0, dtype=np.int64)
        sums: Floats = np.empty(0)
        for distance in range(1, window + 1):
            together = owner[:-distance] == owner[distance:]
            pairs = (items[:-distance] * num + items[distance:])[together]
            found, counts = np.unique(pairs, return_counts=True)
            # Merged one distance at a time: memory follows the distinct pairs, not all of them.
            keys, place = np.unique(np.concatenate([keys, found]), return_inverse=True)
            parts = np.concatenate([sums, counts / distance])
            sums = np.bincount(place, weights=parts, minlength=len(keys)).astype(np.float64)
        first = keys // num
        row_sum = np.bincount(first, weights=sums, minlength=num)
        sizes = np.bincount(first, minlength=num)
        return cls(
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            keys % num,
            sums / (row_sum[first] + SHRINKAGE),
            Popularity.fit(interactions, train_end).share,
            interactions,
            history,
            decay,
        )

    def scorer(self, queries: Queries) -> Scorer:
        return lambda rows: self._scores(queries.user[rows], queries.history_end[rows])

    def _scores(self, user: Ints, end: Ints) -> Tensor:
        num = len(self.share)
        scores = np.tile(POPULARITY_SHARE * self.share, (len(user), 1))
        start = self.interactions.offsets[user]
        for back in range(self.history):
            has = np.flatnonzero(end - 1 - back >= start)
            if len(has) == 0:
                break
            item = self.interactions.items[end[has] - 1 - back].astype(np.int64)
            owner, place = ragged(self.offsets[item], self.offsets[item + 1] - self.offsets[item])
            flat = has[owner] * num + self.columns[place]
            # A row of M has no repeated column, so no two of these indices are equal.
            scores.reshape(-1)[flat] += self.decay**back * self.values[place]
        return torch.from_numpy(scores)


def _training(interactions: Interactions, train_end: Ints) -> tuple[Ints, Ints]:
    start = interactions.offsets[:-1]
    return ragged(start, train_end - start)
