"""Multi-valued columns: what is pooled, in training and in an exported file."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rechub_cli.errors import RechubError
from rechub_cli.features import SequenceFeature
from rechub_cli.layers.embedding import EmbeddingTables

IDS = torch.tensor([[[3, 1, 1], [2, 0, 0]], [[0, 0, 0], [4, 4, 9]]])  # 9 stands behind the length
LENGTHS = torch.tensor([[3, 1], [0, 2]])


def tables(pooling: str) -> tuple[SequenceFeature, EmbeddingTables]:
    feature = SequenceFeature("genres", vocab_size=6, embed_dim=2, padding_idx=0, pooling=pooling)
    made = EmbeddingTables([feature])
    with torch.no_grad():
        next(made.parameters()).copy_(torch.arange(12.0).view(6, 2))  # row r is (2 r, 2 r + 1)
    return feature, made


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("sum", [[[10.0, 13.0], [4.0, 5.0]], [[0.0, 0.0], [16.0, 18.0]]]),
        ("mean", [[[10 / 3, 13 / 3], [4.0, 5.0]], [[0.0, 0.0], [8.0, 9.0]]]),
    ],
)
def test_only_values_within_the_length_are_pooled(pooling: str, expected: list[object]) -> None:
    feature, made = tables(pooling)
    torch.testing.assert_close(made.pooled(feature, IDS, LENGTHS), torch.tensor(expected))


@pytest.mark.parametrize("pooling", ["sum", "mean"])
def test_an_exported_file_pools_as_training_does(
    pooling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values and gradients: the two are computed by different means."""
    ids = IDS.clamp(max=5)
    found: list[tuple[Tensor, Tensor]] = []
    for exported in (False, True):
        monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda exported=exported: exported)
        feature, made = tables(pooling)
        pooled = made.pooled(feature, ids, LENGTHS)
        (pooled * torch.arange(8.0).view(2, 2, 2)).sum().backward()
        gradient = next(made.parameters()).grad
        assert gradient is not None
        found.append((pooled.detach(), gradient))
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("beyond", [-1, 6])
def test_an_id_beyond_the_vocabulary_is_named(beyond: int) -> None:
    feature, made = tables("mean")
    with pytest.raises(RechubError, match=r"genres: ids .* allowed: 0\.\.5"):
        made.pooled(feature, torch.tensor([[beyond, 1]]), torch.tensor([2]))
