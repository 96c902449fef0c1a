"""Past items by index are the past items themselves: values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from rechub_cli.layers.history import HistoryPooling
from rechub_cli.layers.past import PastItems

INDEX = torch.tensor([[0, 2, 2], [1, 0, 4]])  # of 5 vectors; nothing holds the one of row 3


@pytest.fixture
def vectors() -> Tensor:
    return torch.randn(5, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()


def both(vectors: Tensor) -> tuple[PastItems, PastItems]:
    """With an index, and with a vector a place."""
    return PastItems(vectors, INDEX), PastItems(vectors[INDEX])


def test_all_of_them_and_one_a_row(vectors: Tensor) -> None:
    indexed, plain = both(vectors)
    assert indexed.width == plain.width == 3
    assert_close(indexed.expand(), plain.expand())
    which = torch.tensor([[False, False, True], [True, False, False]])
    for past in (indexed, plain):
        assert_close(past.chosen(which), torch.stack([vectors[2], vectors[1]]))
        which_none = which & torch.tensor([[True], [False]])
        assert_close(past.chosen(which_none), torch.stack([vectors[2], torch.zeros(4)]))


@pytest.mark.parametrize("kind", ["mean", "recency"])
@pytest.mark.parametrize("width", [0, 2])
def test_a_history_narrower_than_its_length_pools_what_is_there(kind: str, width: int) -> None:
    """None of no width, as of a new user; and a longer one cut by whoever made the batch."""
    pooling = HistoryPooling(4, kind=kind, max_len=5)
    vectors = torch.randn(2, width, 4, generator=torch.Generator().manual_seed(0))
    found = pooling(PastItems(vectors), torch.tensor([0, width + 1]))
    assert not found[0].any()
    assert bool(found[1].any()) == (width > 0)


@pytest.mark.parametrize("weights_too", [False, True])
def test_weighted_sums_and_their_gradients(vectors: Tensor, weights_too: bool) -> None:
    weights = torch.tensor([[0.5, 2.0, -1.0], [0.0, 3.0, 0.25]], requires_grad=weights_too)
    upstream = torch.randn(2, 4, generator=torch.Generator().manual_seed(1))
    inputs = [vectors, weights] if weights_too else [vectors]
    found = []
    for past in both(vectors):
        out = past.weighted(weights)
        found.append([out, *torch.autograd.grad(out, inputs, upstream)])
    assert_close(found[0], found[1])
    by_hand = 0.5 * vectors[0] + 2.0 * vectors[2] - vectors[2]
    assert_close(found[0][0][0], by_hand)
    assert_close(found[0][1][2], upstream[0])  # held twice: 2 - 1
    assert not found[0][1][3].any()


def test_gradients_by_differences(vectors: Tensor) -> None:
    weights = torch.rand(2, 3, dtype=torch.float64, requires_grad=True)
    exact = vectors.detach().double().requires_grad_()
    assert torch.autograd.gradcheck(lambda v, w: PastItems(v, INDEX).weighted(w), (exact, weights))
