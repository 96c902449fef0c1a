"""Past items by index are the past items themselves: values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

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
    place = torch.tensor([2, 0])
    assert indexed.width == plain.width == 3
    assert_close(indexed.expand(), plain.expand())
    assert_close(indexed.at(place), plain.at(place))
    assert_close(indexed.at(place), torch.stack([vectors[2], vectors[1]]))


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
