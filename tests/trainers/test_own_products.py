"""Products with rows of their own, as of a plain lookup. Q queries, N rows of each, D width."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from rechub_cli.models.matching.base import best_products
from rechub_cli.trainers import objectives
from rechub_cli.trainers.own_products import FEW_NUMBERS, own_products


@pytest.mark.parametrize("num", [1, 4, 600])
@pytest.mark.parametrize("interests", [(), (1,), (3,)])
def test_they_are_those_of_a_lookup(interests: tuple[int, ...], num: int) -> None:
    generator = torch.Generator().manual_seed(0)
    values = [
        torch.randn(*shape, 3, generator=generator, dtype=torch.float64)
        for shape in ((5, *interests), (7,))
    ]
    index = torch.randint(6, (5, num), generator=generator)  # row 6 is never asked for
    upstream = torch.randn(5, 2 * num, generator=generator, dtype=torch.float64)[:, ::2]
    found = []
    for products in (own_products, lambda q, v, i: best_products(q, v[i])):
        queries, vectors = (v.clone().requires_grad_() for v in values)
        value = products(queries, vectors, index)
        found.append((value, *torch.autograd.grad(value, (queries, vectors), upstream)))
    for mine, plain in zip(*found, strict=True):
        assert_close(mine, plain)


def test_gradients_are_those_of_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    queries, vectors = (
        torch.randn(n, 3, generator=generator, dtype=torch.float64).requires_grad_() for n in (4, 6)
    )
    index = torch.tensor([[0, 5], [2, 2], [1, 0], [5, 4]])
    assert torch.autograd.gradcheck(lambda q, v: own_products(q, v, index), (queries, vectors))


def test_no_row_is_kept_once_a_place() -> None:
    kept: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    queries, vectors = (torch.ones(n, 8, requires_grad=True) for n in (4, 6))
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        own_products(queries, vectors, torch.zeros(4, 50, dtype=torch.int64))
    assert max(kept) == 4 * 50


@pytest.mark.parametrize("more", [0, 1])
def test_many_numbers_are_not_looked_up(more: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def note(*given: Tensor) -> Tensor:
        asked.append(given)
        return own_products(*given)

    monkeypatch.setattr(objectives, "own_products", note)
    queries, vectors = (torch.arange(rows * 8.0).view(rows, 8) for rows in (4, 6))
    index = torch.arange(FEW_NUMBERS // 8 + 4 * more).remainder(6).view(4, -1)
    found = objectives._products(queries, vectors, index)
    assert_close(found, best_products(queries, vectors[index]))
    assert len(asked) == more
