"""What an exported tower reads: its inputs, in order.

B rows, L history length, G values of a multi-valued column.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rechub_cli.features import DenseFeature, Feature, SequenceFeature
from rechub_cli.models.matching.base import MatchingModel

BATCH, LENGTH = "batch", "length"
TOWERS = ("user", "item")


@dataclass(frozen=True)
class InputSpec:
    """name; axes: the names of its dynamic axes; vocab_size: ids lie below it, None for numbers
    and lengths."""

    name: str
    axes: tuple[str, ...]
    dtype: torch.dtype = torch.int64
    vocab_size: int | None = None


def tower_inputs(model: MatchingModel, tower: str) -> list[InputSpec]:
    """The inputs of one tower: ids int64 [B], numbers float32 [B], multi-valued int64 [B, G] with
    their lengths [B]; history int64 [B, L] (and [B, L, G]) with ``history_length`` [B]."""
    if tower == "item":
        return [spec for f in model.schema.item_features for spec in _plain(f)]
    specs = [spec for f in model.schema.profile for spec in _plain(f)]
    history = model.schema.history
    for column in history:
        name, size = column.feature.name, column.feature.vocab_size
        if isinstance(column.item_feature, SequenceFeature):
            values = f"{name}_values"
            specs.append(InputSpec(name, (BATCH, LENGTH, values), vocab_size=size))
            specs.append(InputSpec(f"{name}_length", (BATCH, LENGTH)))
        else:
            specs.append(InputSpec(name, (BATCH, LENGTH), vocab_size=size))
    if history:
        specs.append(InputSpec(history[0].feature.length_key, (BATCH,)))
    return specs


def _plain(feature: Feature) -> list[InputSpec]:
    if isinstance(feature, DenseFeature):
        return [InputSpec(feature.name, (BATCH,), torch.float32)]
    size = feature.vocab_size
    if isinstance(feature, SequenceFeature):
        axes = (BATCH, f"{feature.name}_values")
        return [
            InputSpec(feature.name, axes, vocab_size=size),
            InputSpec(feature.length_key, (BATCH,)),
        ]
    return [InputSpec(feature.name, (BATCH,), vocab_size=size)]


def example_batch(specs: list[InputSpec], *, rows: int = 3, width: int = 5) -> dict[str, Tensor]:
    """Valid inputs for tracing: ids that exist, every length 2."""
    batch = {}
    for spec in specs:
        shape = (rows, *([width] * (len(spec.axes) - 1)))
        if spec.vocab_size is None and spec.dtype is torch.int64:
            batch[spec.name] = torch.full(shape, 2, dtype=torch.int64)
        elif spec.vocab_size is None:
            batch[spec.name] = torch.zeros(shape)
        else:
            batch[spec.name] = torch.full(shape, spec.vocab_size - 1, dtype=torch.int64)
    return batch
