"""MLPs of the towers."""

from __future__ import annotations

import pytest
import torch

from rechub_cli.errors import RechubError
from rechub_cli.layers.mlp import MLP, MLPParams

X = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0], [-1.0, 0.5, 0.0, 2.0, -3.0]])


def silent(mlp: MLP) -> MLP:
    """With a last layer that gives zeros."""
    torch.nn.init.zeros_(mlp.layers[-1].weight)
    return mlp


def test_residual_starts_as_the_sum_of_the_blocks() -> None:
    mlp = silent(MLP(5, MLPParams((7, 2))))
    # [x1 + x3 + x5, x2 + x4]: blocks of two, the last one cut short
    assert torch.equal(mlp(X), torch.tensor([[9.0, 6.0], [-4.0, 2.5]]))


def test_residual_of_a_narrower_input_fills_the_first_coordinates() -> None:
    mlp = silent(MLP(2, MLPParams((7, 3))))
    assert torch.equal(mlp(X[:, :2]), torch.tensor([[1.0, 2.0, 0.0], [-1.0, 0.5, 0.0]]))


def test_residual_is_added_to_the_layers_and_learned() -> None:
    torch.manual_seed(0)
    mlp = MLP(5, MLPParams((7, 2)))
    assert mlp.residual is not None
    torch.nn.init.normal_(mlp.residual.weight)
    torch.testing.assert_close(mlp(X), mlp.layers(X) + X @ mlp.residual.weight.T)
    mlp(X).sum().backward()
    torch.testing.assert_close(mlp.residual.weight.grad, X.sum(0).expand(2, 5))


def test_without_it_the_mlp_is_its_layers() -> None:
    mlp = silent(MLP(5, MLPParams.parse({"dims": [7, 2], "residual": False}, name="user_params")))
    assert torch.equal(mlp(X), torch.zeros(2, 2))
    assert {name.split(".")[0] for name, _ in mlp.named_parameters()} == {"layers"}


def test_an_unknown_key_is_refused_with_those_allowed() -> None:
    with pytest.raises(RechubError, match="residuals.*allowed beside it: .*residual"):
        MLPParams.parse({"dims": [2], "residuals": True}, name="user_params")
