"""A gated recurrent unit over a history. B rows, L length, D width."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rechub_cli.layers.dropout import Dropout


class CausalGRU(nn.Module):
    """The state after each position, [B, L, D] -> [B, L, D]; the first state is zero.

    Layers are stacked, with dropout on the input and on what each layer gives. Positions behind
    ``lengths`` are undefined and change nothing before them. hidden_dim: width of the states;
    where it is not D a linear map brings the last one to D.
    """

    def __init__(
        self, dim: int, *, num_layers: int, hidden_dim: int, input_dropout: float, dropout: float
    ) -> None:
        super().__init__()
        widths = [dim, *[hidden_dim] * num_layers]
        self.input_dropout = Dropout(input_dropout)
        self.layers = nn.ModuleList(
            nn.GRU(before, after, batch_first=True)
            for before, after in zip(widths, widths[1:], strict=False)
        )
        self.dropout = Dropout(dropout)
        self.out = nn.Linear(hidden_dim, dim) if hidden_dim != dim else nn.Identity()

    def forward(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        x = self.input_dropout(vectors)
        for layer in self.layers:
            x = _onnx_gru(layer, x) if torch.onnx.is_in_onnx_export() else layer(x)[0]
            x = self.dropout(x)
        out: Tensor = self.out(x)
        return out


def _onnx_gru(layer: nn.Module, x: Tensor) -> Tensor:
    """The layer as ONNX's own GRU operator, which takes any batch and length.

    torch's exporter unrolls a GRU over the length of its example instead.
    """
    given = dict(layer.named_parameters())
    hidden = given["weight_hh_l0"].shape[1]
    # torch stacks reset, update, new; ONNX update, reset, new. Slices are folded into constants.
    weights = {
        name: torch.cat([t[hidden : 2 * hidden], t[:hidden], t[2 * hidden :]])
        for name, t in given.items()
    }
    bias = torch.cat([weights["bias_ih_l0"], weights["bias_hh_l0"]])
    steps = torch.onnx.ops.symbolic(
        "::GRU",
        (
            x.transpose(0, 1),
            weights["weight_ih_l0"].unsqueeze(0),
            weights["weight_hh_l0"].unsqueeze(0),
            bias.unsqueeze(0),
        ),
        {"hidden_size": hidden, "linear_before_reset": 1},
        dtype=x.dtype,
        shape=(x.shape[1], 1, x.shape[0], hidden),
    )
    return steps.squeeze(1).transpose(0, 1)
