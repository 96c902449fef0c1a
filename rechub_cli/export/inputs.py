"""What the towers' inputs are made of, so that raw values can be encoded without this package.

``inputs.json`` lists the inputs of each tower, each with its kind and its side column:

    id        the value's id in the ``vocabulary``; ``unknown`` where it has none
    ids       the same of several, right-padded with ``padding``: those that have none are left out.
              Of a history these are items (or a column of theirs), the oldest first.
    length    how many ids there are in the input that it is ``of``
    number    (value - mean) / std, at most ``furthest`` from 0; 0 where it is missing, or where
              std is null
    missing   1 where the number is missing, else 0

``vocabulary.parquet`` has a row each value of a vocabulary: its text, and its id.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rechub_cli.data.dataset import MatchData
from rechub_cli.data.encoded import Encoded
from rechub_cli.data.names import MISSING_SUFFIX
from rechub_cli.data.scaling import FURTHEST
from rechub_cli.data.vocabulary import FIRST, OOV, PADDING, Vocabulary
from rechub_cli.export.contract import TOWERS, tower_inputs
from rechub_cli.features import DenseFeature, SequenceFeature
from rechub_cli.models.matching.base import MatchingModel

INPUTS, VOCABULARY = "inputs.json", "vocabulary.parquet"


def write_inputs(model: MatchingModel, data: MatchData, folder: Path | str) -> None:
    """Write both files into ``folder``."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {"padding": PADDING, "unknown": OOV, "furthest": FURTHEST}
    content["max_len"] = data.options.max_len
    for tower in TOWERS:
        names = [spec.name for spec in tower_inputs(model, tower)]
        content[tower] = [_input(name, data.encoded) for name in names]
    (folder / INPUTS).write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    parts = [_rows(name, known) for name, known in data.encoded.vocabularies.items()]
    pq.write_table(pa.concat_tables(parts), folder / VOCABULARY)


def _input(name: str, encoded: Encoded) -> dict[str, Any]:
    feature = encoded.schema.by_name.get(name)
    if feature is None:
        return {"input": name, "kind": "length", "of": name.removesuffix("_length")}
    if not isinstance(feature, DenseFeature):
        kind = "ids" if isinstance(feature, SequenceFeature) else "id"
        column = encoded.columns.get(feature.table)  # none of the item's or user's own id
        return {"input": name, "kind": kind, "vocabulary": feature.table, "column": column}
    scale = encoded.scales.get(name)
    if scale is None:
        column = encoded.columns[name.removesuffix(MISSING_SUFFIX)]
        return {"input": name, "kind": "missing", "column": column}
    std = scale.std if scale.varies else None
    column = encoded.columns[name]
    return {"input": name, "kind": "number", "column": column, "mean": scale.mean, "std": std}


def _rows(name: str, vocabulary: Vocabulary) -> pa.Table:
    ids = np.arange(FIRST, vocabulary.size)
    names = pa.DictionaryArray.from_arrays(np.zeros(len(ids), dtype=np.int32), [name])
    return pa.table({"vocabulary": names, "value": vocabulary.values.cast(pa.string()), "id": ids})
