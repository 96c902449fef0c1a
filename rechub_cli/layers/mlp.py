"""Multi-layer perceptron of the towers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from rechub_cli.checks import check, check_flags, check_known, is_whole, share_rule
from rechub_cli.errors import ConfigError
from rechub_cli.layers.dropout import Dropout

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "prelu": nn.PReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "leaky_relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
NORMS = ("none", "batch", "layer")


@dataclass(frozen=True)
class MLPParams:
    """dims: widths of the layers, the output last. dropout: in [0, 1), after hidden layers.
    activation: a name of ACTIVATIONS. norm: none, batch or layer, before the activation.
    residual: adds the input to the output, see MLP; False is the papers' form."""

    dims: tuple[int, ...]
    dropout: float = 0.0
    activation: str = "relu"
    norm: str = "none"
    residual: bool = True

    @classmethod
    def parse(cls, params: MLPParams | dict[str, object], *, name: str) -> MLPParams:
        """Read ``user_params`` / ``item_params`` as a user writes them."""
        if isinstance(params, MLPParams):
            return params
        unknown = sorted(set(params) - {field.name for field in fields(cls)})
        if unknown or "dims" not in params:
            raise ConfigError(
                f"{name} has the keys {sorted(params)}; needed: dims; allowed beside it: "
                + ", ".join(field.name for field in fields(cls)[1:])
            )
        dims = params["dims"]
        if not isinstance(dims, Sequence) or not dims or not all(is_whole(d, 1) for d in dims):
            raise ConfigError(f"{name}.dims={dims!r}; allowed: a list of widths >= 1")
        parsed = cls(**{**params, "dims": tuple(int(d) for d in dims)})  # type: ignore[arg-type]
        check_known(f"{name}.activation", parsed.activation, ACTIVATIONS)
        check_known(f"{name}.norm", parsed.norm, NORMS)
        check_flags(**{f"{name}.residual": parsed.residual})
        key = f"{name}.dropout"
        check({key: parsed.dropout}, share_rule(key, parsed.dropout))
        return parsed


class MLP(nn.Module):
    """Hidden layers of linear, norm, activation, dropout; the last layer is linear.

    widths: of the vectors that make the input [..., sum of widths], in their order. The output is
    [..., D], D = params.dims[-1]. input_dropout: of the input, in [0, 1).

    Under ``residual`` a linear map of the input is added to the output. It starts as the sum of
    the input's vectors, cut or filled with zeros to D, without the numbers (width 1), so that a
    user starts near the items it is made of, whatever stands before them: an MLP alone has to
    learn from each item's few events what its own vector tells at once (YoutubeDNN, test
    NDCG@10: Amazon Beauty .0550, 2 seeds, and .0476 without, 3; MovieLens 1M .1804, 1, and .1712).
    """

    def __init__(
        self, widths: Sequence[int], params: MLPParams, *, input_dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.input_dropout = Dropout(input_dropout)
        sizes = (sum(widths), *params.dims)
        layers: list[nn.Module] = []
        for before, after in zip(sizes[:-2], sizes[1:-1], strict=True):
            layers += [_linear(before, after), *_norm(params.norm, after)]
            layers += [ACTIVATIONS[params.activation](), Dropout(params.dropout)]
        layers.append(_linear(sizes[-2], sizes[-1]))
        self.layers = nn.Sequential(*layers)
        self.residual = nn.Linear(sizes[0], sizes[-1], bias=False) if params.residual else None
        if self.residual is not None:
            starts = [torch.eye(sizes[-1], width) * (width > 1) for width in widths]
            self.residual.weight = nn.Parameter(torch.cat(starts, dim=1))

    def forward(self, x: Tensor, shared: Tensor | None = None) -> Tensor:
        """shared: None, or the input's last columns, [B, W'], of which x [B, K, W] has the others:
        what is the same for all K is dropped and multiplied once."""
        x = self.input_dropout(x)
        shared = None if shared is None else self.input_dropout(shared)
        first, *others = self.layers
        hidden = _mapped(first, x, shared)
        for layer in others:
            hidden = layer(hidden)
        return hidden if self.residual is None else hidden + _mapped(self.residual, x, shared)


def _mapped(layer: nn.Module, x: Tensor, shared: Tensor | None) -> Tensor:
    """A linear layer of x, or of [x, shared] in one row."""
    if shared is None:
        out: Tensor = layer(x)
        return out
    assert isinstance(layer, nn.Linear)
    width = x.shape[-1]
    other = nn.functional.linear(shared, layer.weight[:, width:], layer.bias)
    return nn.functional.linear(x, layer.weight[:, :width]) + other.unsqueeze(1)


def _linear(before: int, after: int) -> nn.Linear:
    layer = nn.Linear(before, after)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _norm(kind: str, width: int) -> list[nn.Module]:
    if kind == "none":
        return []
    return [RowBatchNorm(width) if kind == "batch" else nn.LayerNorm(width)]


class RowBatchNorm(nn.BatchNorm1d):
    """Batch norm over the last axis of [..., D], all other axes being rows.

    A single row has no variance of its own: it is normalised by the running statistics.
    """

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        if self.training and len(rows) == 1:
            out = nn.functional.batch_norm(
                rows, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        else:
            out = super().forward(rows)
        return out.reshape(x.shape)
