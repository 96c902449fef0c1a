"""Rows by index: the gradient adds up by row, as that of torch's own lookup."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from rechub_cli.layers.rows import INT16_ROWS, pooled_rows, rows_at


@pytest.mark.parametrize("count", [1, 7, INT16_ROWS, INT16_ROWS + 1])
@pytest.mark.parametrize("shape", [(0,), (40,), (5, 8), (50, 1000)])
def test_lookup_and_gradient(count: int, shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(count, 3, generator=generator, dtype=torch.float64).requires_grad_()
    index = torch.randint(count, shape, generator=generator)
    if index.numel():
        index.view(-1)[-1] = count - 1
    upstream = torch.randn(*shape, 3, generator=generator, dtype=torch.float64)
    found, wanted = rows_at(vectors, index), vectors[index]
    assert_close(found, wanted)
    (of_found,) = torch.autograd.grad(found, vectors, upstream)
    (of_wanted,) = torch.autograd.grad(wanted, vectors, upstream)
    assert_close(of_found, of_wanted)


@pytest.mark.parametrize("mode", ["mean", "sum"])
@pytest.mark.parametrize("count", [9, INT16_ROWS + 1])
@pytest.mark.parametrize("sizes", [[2, 0, 5, 1, 0], [2, 0, 30_000, 19_998, 0]])
def test_pooled_and_gradient(mode: str, count: int, sizes: list[int]) -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(count, 3, generator=generator, dtype=torch.float64).requires_grad_()
    index = torch.randint(count, (sum(sizes),), generator=generator)
    index[3] = index[0]  # in two bags
    upstream = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    found = pooled_rows(vectors, index, torch.tensor(sizes), mode)
    parts = [
        part.sum(0) / (len(part) if mode == "mean" and len(part) else 1)
        for part in vectors[index].split(sizes)
    ]
    wanted = torch.stack(parts)
    assert_close(found, wanted)
    (of_found,) = torch.autograd.grad(found, vectors, upstream)
    (of_wanted,) = torch.autograd.grad(wanted, vectors, upstream)
    assert_close(of_found, of_wanted)


def test_a_gradient_of_another_layout() -> None:
    vectors = torch.randn(4, 3, requires_grad=True)
    index = torch.tensor([[0, 2], [2, 1]]).repeat(1000, 1)
    rows_at(vectors, index).transpose(0, 2)[0].sum().backward()
    wanted = torch.tensor([[1000.0, 0, 0], [1000, 0, 0], [2000, 0, 0], [0, 0, 0]])
    assert_close(vectors.grad, wanted)
