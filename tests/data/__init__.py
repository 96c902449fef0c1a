from collections.abc import Mapping

from torch import Tensor


def history_ids(features: Mapping[str, Tensor]) -> Tensor:
    """The ids of a loader's histories, int64 [B, L]."""
    return features["history"][features["history_index"]]
