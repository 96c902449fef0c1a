"""Inner products of queries with rows of their own. Q queries, K interests, M rows, D width."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from rechub_cli.layers.rows import weighted_rows

FEW_NUMBERS = 1 << 17
"""Up to so many numbers in the queries' own rows, Q x N x D, a lookup and its products take .6 to
1.0 of the time; beyond it 1.0 to 6 times as long."""


def own_products(queries: Tensor, vectors: Tensor, index: Tensor) -> Tensor:
    """queries[q] . vectors[index[q, n]]: [Q, D], [M, D] -> [Q, N].

    queries: or [Q, K, D], of which an item takes its best. index: int64 [Q, N].
    Nothing of size [Q, N, D] is made.
    """
    if queries.dim() == 2:
        found: Tensor = _OwnProducts.apply(queries, vectors, index)  # type: ignore[no-untyped-call] # no stub
        return found
    several = queries.shape[1]
    each = own_products(queries.flatten(0, 1), vectors, index.repeat_interleave(several, 0))
    return each.view(-1, several, index.shape[1]).amax(dim=1)  # [Q, K, N] -> [Q, N]


class _OwnProducts(torch.autograd.Function):
    """The gradients of a weighted sum of rows, one by one.

    With b[q] the sum over n of weights[q, n] vectors[index[q, n]], b . queries has the products as
    its gradient by the weights. With the products' gradient as weights, the queries' own is b, and
    the vectors' own is that of b . queries.
    """

    @staticmethod
    def forward(ctx: Any, queries: Tensor, vectors: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(queries, vectors, index)
        with torch.enable_grad():
            weights = queries.new_zeros(index.shape).requires_grad_()
            sums = embedding_bag(index, vectors.detach(), per_sample_weights=weights, mode="sum")
        return torch.autograd.grad(sums, weights, queries)[0]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        queries, vectors, index = ctx.saved_tensors
        with torch.enable_grad():
            own = vectors.detach().requires_grad_()
            sums = weighted_rows(own, index, grad)
        return sums.detach(), torch.autograd.grad(sums, own, queries)[0], None
