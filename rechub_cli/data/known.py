"""What is known of a user or an item beside its id. B rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import torch
from torch import Tensor

from rechub_cli.data.vocabulary import OOV
from rechub_cli.features import DenseFeature, Feature, SequenceFeature


def any_known(
    values: Mapping[str, Tensor], features: Iterable[Feature], *, scaled: Collection[str], rows: int
) -> Tensor:
    """bool [B]: rows that have a known value in some feature.

    A missing number was replaced by its mean, 0 after scaling; flags of missing numbers are not
    in ``scaled``, the scaled columns. rows: B, for features without any.
    """
    known = torch.zeros(rows, dtype=torch.bool)
    for feature in features:
        if isinstance(feature, SequenceFeature):
            known |= values[feature.length_key] > 0
        elif isinstance(feature, DenseFeature):
            known |= (values[feature.name] != 0) & (feature.name in scaled)
        else:
            known |= values[feature.name] > OOV
    return known
