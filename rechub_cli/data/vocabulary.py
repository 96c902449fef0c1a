"""Vocabularies: raw value <-> embedding row, fitted on training rows only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rechub_cli.data.interactions import Ints

PADDING, OOV, FIRST = 0, 1, 2
"""Embedding rows: no value, an unknown value, the first known value."""


@dataclass(frozen=True)
class Vocabulary:
    """values: the known raw values in ascending order; value i has embedding row ``i + FIRST``."""

    values: pa.Array

    @classmethod
    def fit(cls, values: pa.Array, counts: Ints, *, min_count: int) -> Vocabulary:
        """Know the values whose rows add up to at least ``min_count``.

        values: raw values [n], null where missing. counts: training rows of each, int64 [n].
        """
        encoded = values.dictionary_encode()
        codes = np.asarray(encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False))
        real = codes >= 0
        totals = np.bincount(codes[real], weights=counts[real], minlength=len(encoded.dictionary))
        known = encoded.dictionary.filter(pa.array(totals >= max(min_count, 1)))
        return cls(known.take(pc.sort_indices(known)))

    @property
    def size(self) -> int:
        """Rows of the embedding table, padding and OOV included."""
        return len(self.values) + FIRST

    def encode(self, values: pa.Array) -> Ints:
        """Embedding rows int64 [n]; unknown and missing values are OOV."""
        rows = pc.index_in(values.cast(self.values.type), self.values)
        return np.asarray(rows.fill_null(OOV - FIRST).to_numpy()).astype(np.int64) + FIRST
