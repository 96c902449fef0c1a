"""Multi-valued columns: what is pooled, in training and in an exported file."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rechub_cli.errors import RechubError
from rechub_cli.features import DenseFeature, HistoryColumn, SequenceFeature, SparseFeature
from rechub_cli.layers.embedding import (
    Batch,
    ConcatEncoder,
    EmbeddingTables,
    ItemEncoder,
    lengths_of,
)
from rechub_cli.layers.history import HISTORY_INDEX, ColumnEncoder, HistoryEncoder

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


MIXED = (
    SparseFeature("id", 6, embed_dim=2),
    SequenceFeature("tags", 6, embed_dim=2),
    DenseFeature("price"),
)
ROWS = {
    "id": torch.tensor([1, 2, 5]),
    "tags": torch.tensor([[1, 2], [3, 0], [0, 0]]),
    "tags_length": torch.tensor([2, 1, 0]),
    "price": torch.tensor([0.5, 1.5, -1.0]),
}


@pytest.mark.parametrize("encoder", [ConcatEncoder, ItemEncoder])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": ROWS["id"].float()}, "id: .* of type float32; needed: integers"),
        ({"id": ROWS["id"].bool()}, "id: .* of type bool; needed: integers"),
        ({"id": ROWS["id"].view(3, 1)}, r"id: .* \[3, 1\]; needed: \[B\] \(values.squeeze"),
        ({"price": ROWS["price"].view(3, 1)}, r"price: .* shape \[3, 1\]; needed: \[B\] \("),
        ({"tags": ROWS["id"]}, r"tags: .* shape \[3\]; needed: \[B, G\]$"),
        ({"tags": ROWS["tags"].float()}, "tags: .* of type float32"),
        ({"tags_length": ROWS["price"]}, "tags_length: .* of type float32"),
    ],
)
def test_values_of_another_shape_or_type_are_named(
    encoder: type[ConcatEncoder | ItemEncoder], changes: Batch, message: str
) -> None:
    made = encoder(EmbeddingTables(MIXED), MIXED)
    assert made(ROWS).shape[0] == 3
    with pytest.raises(RechubError, match=message):
        made({**ROWS, **changes})


def test_a_history_of_another_shape_is_named() -> None:
    column = HistoryColumn(SequenceFeature("history", 6, embed_dim=2, shared_with="id"), MIXED[0])
    tables = EmbeddingTables(MIXED[:1])
    encoders = (
        HistoryEncoder(ItemEncoder(tables, MIXED[:1]), [column]),
        ColumnEncoder(tables, [column]),
    )
    index = {HISTORY_INDEX: torch.tensor([[0, 1]])}
    for encoder in encoders:
        with pytest.raises(RechubError, match=r"history: .* shape \[2\]; needed: \[B, L\]"):
            encoder({"history": torch.tensor([1, 2])})
        with pytest.raises(RechubError, match=r"history: .* shape \[1, 2\]; needed: \[B\]"):
            encoder({"history": torch.tensor([[1, 2]]), **index})


@pytest.mark.parametrize("kind", [torch.int16, torch.int32, torch.uint8])
def test_integers_of_any_width_are_ids(kind: torch.dtype) -> None:
    made = ConcatEncoder(EmbeddingTables(MIXED), MIXED)
    narrow = {name: t if t.is_floating_point() else t.to(kind) for name, t in ROWS.items()}
    assert torch.equal(made(narrow), made(ROWS))


def test_padding_before_ids_is_refused_where_lengths_follow_from_it() -> None:
    """The first places would be read, as many as there are ids."""
    feature, _ = tables("mean")
    assert lengths_of({"genres": torch.tensor([[3, 1, 0], [0, 0, 0]])}, feature).tolist() == [2, 0]
    for wrong in ([0, 3, 1], [3, 0, 1]):
        with pytest.raises(RechubError, match="genres: padding .0. stands before ids"):
            lengths_of({"genres": torch.tensor([[3, 1, 0], wrong])}, feature)
    given = {"genres": torch.tensor([[0, 3, 1]]), "genres_length": torch.tensor([3])}
    assert lengths_of(given, feature).tolist() == [3]


@pytest.mark.parametrize("pooling", ["sum", "mean"])
def test_the_padding_within_a_length_is_no_value(pooling: str) -> None:
    feature, made = tables(pooling)
    found = made.pooled(feature, torch.tensor([[3, 0, 1]]), torch.tensor([3]))
    expected = made.pooled(feature, torch.tensor([[3, 1, 0]]), torch.tensor([2]))
    torch.testing.assert_close(found, expected)
    found.sum().backward()
    (table,) = made.parameters()
    assert table.grad is not None and float(table.grad[0].abs().max()) == 0.0
