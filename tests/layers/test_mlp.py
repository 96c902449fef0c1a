"""MLPs of the towers."""

from __future__ import annotations

import pytest
import torch

from rechub_cli.errors import ConfigError
from rechub_cli.layers.mlp import MLP, MLPParams

X = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0], [-1.0, 0.5, 0.0, 2.0, -3.0]])


def silent(mlp: MLP) -> MLP:
    """With a last layer that gives zeros."""
    torch.nn.init.zeros_(mlp.layers[-1].weight)
    return mlp


@pytest.mark.parametrize(
    ("widths", "dim", "want"),
    [
        # [x1 + x3, x2 + x4]: the last is a number
        ([2, 2, 1], 2, [[4.0, 6.0], [-1.0, 2.5]]),
        # The number stands first: the vectors stay what they are.
        ([1, 2, 2], 2, [[6.0, 8.0], [2.5, -3.0]]),
        # [x1 + x3, x2 + x4, x5]: a narrower vector fills the first coordinates
        ([2, 3], 3, [[4.0, 6.0, 5.0], [-1.0, 2.5, -3.0]]),
        # [x1 + x4, x2 + x5]: a wider one is cut
        ([3, 2], 2, [[5.0, 7.0], [1.0, -2.5]]),
    ],
)
def test_residual_starts_as_the_sum_of_the_vectors(
    widths: list[int], dim: int, want: list[list[float]]
) -> None:
    mlp = silent(MLP(widths, MLPParams((7, dim))))
    assert torch.equal(mlp(X), torch.tensor(want))


def test_residual_is_added_to_the_layers_and_learned() -> None:
    torch.manual_seed(0)
    mlp = MLP([2, 2, 1], MLPParams((7, 2)))
    assert mlp.residual is not None
    torch.nn.init.normal_(mlp.residual.weight)
    torch.testing.assert_close(mlp(X), mlp.layers(X) + X @ mlp.residual.weight.T)
    mlp(X).sum().backward()
    torch.testing.assert_close(mlp.residual.weight.grad, X.sum(0).expand(2, 5))


def test_the_layers_and_the_residual_read_what_is_left_of_the_input() -> None:
    torch.manual_seed(0)
    mlp = MLP([2], MLPParams((7, 2)), input_dropout=0.5)
    read: list[torch.Tensor] = []
    mlp.layers[0].register_forward_pre_hook(lambda _module, inputs: read.append(inputs[0]))
    out = mlp(torch.ones(4000, 2))
    (left,) = read
    assert left.unique().tolist() == [0.0, 2.0] and abs(left.mean().item() - 1) < 0.05
    torch.testing.assert_close(out - mlp.layers(left), left)
    assert torch.equal(silent(mlp.eval())(X[:, :2]), X[:, :2])


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("dims", [(7, 2), (2,)])
def test_shared_columns_are_those_of_every_row(residual: bool, dims: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    mlp = MLP([3, 2, 2], MLPParams(dims, residual=residual)).double()
    for parameter in mlp.parameters():
        torch.nn.init.normal_(parameter)
    own = torch.randn(5, 4, 3, dtype=torch.float64, requires_grad=True)
    shared = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    whole = mlp(torch.cat([own, shared.unsqueeze(1).expand(-1, 4, -1)], dim=-1))
    apart = mlp(own, shared)
    torch.testing.assert_close(apart, whole)
    inputs, direction = (own, shared, *mlp.parameters()), torch.randn_like(whole)
    expected = torch.autograd.grad(whole, inputs, direction)
    for one, other in zip(torch.autograd.grad(apart, inputs, direction), expected, strict=True):
        torch.testing.assert_close(one, other)


def test_shared_columns_are_dropped_for_all_rows_at_once() -> None:
    torch.manual_seed(0)
    mlp = silent(MLP([2, 2], MLPParams((7, 2)), input_dropout=0.5))
    out = mlp(torch.zeros(400, 3, 2), torch.ones(400, 2))
    assert sorted(out.unique().tolist()) == [0.0, 2.0]
    assert torch.equal(out, out[:, :1].expand_as(out))


def test_without_it_the_mlp_is_its_layers() -> None:
    params = MLPParams.parse({"dims": [7, 2], "residual": False}, name="user_params")
    mlp = silent(MLP([2, 3], params))
    assert torch.equal(mlp(X), torch.zeros(2, 2))
    assert {name.split(".")[0] for name, _ in mlp.named_parameters()} == {"layers"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"residuals": True}, "residuals.*allowed beside it: .*residual"),
        ({"dims": [64.5]}, r"user_params.dims=\[64.5\]; allowed: a list of widths"),
        ({"dropout": "0.1"}, "user_params.dropout='0.1' is no number >= 0 and < 1"),
        ({"residual": "false"}, "user_params.residual='false' is neither True nor False"),
    ],
)
def test_what_is_no_option_is_refused_with_what_is_allowed(
    wrong: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        MLPParams.parse({"dims": [2], **wrong}, name="user_params")


@pytest.mark.parametrize("p", [1.0, -0.1, "0.5", float("nan"), True])
def test_what_is_no_share_is_no_dropout(p: float) -> None:
    with pytest.raises(ConfigError, match=r"dropout=.* is no number >= 0 and < 1"):
        MLP([2], MLPParams((2,)), input_dropout=p)
