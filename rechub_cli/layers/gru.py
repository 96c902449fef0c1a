"""A gated recurrent unit over a history. B rows, L length, D width, H states' width."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from rechub_cli.checks import check_whole
from rechub_cli.layers.dropout import Dropout
from rechub_cli.layers.history import SequenceLayer
from rechub_cli.layers.past import vectors_at
from rechub_cli.layers.products import matmul_precision

SMALL_PRODUCT = 500_000
"""Multiplications of a product that MKL makes sooner than oneDNN, whose call alone takes 13 us: 8 x
16 x 48 in 1.7 us against 15 (Zen 4, where they meet at 2 million; by their speeds on Zen 5, MKL's a
fifth of oneDNN's, they meet there at some 400,000)."""


class CausalGRU(SequenceLayer):
    """The state after each position, [B, L, D] -> [B, L, D]; the first state is zero.

    Layers are stacked, with dropout on the input and on what each layer gives. Positions behind
    ``lengths`` are undefined and change nothing before them. hidden_dim: width of the states;
    where it is not D a linear map brings the last one to D. residual: to what a position gives, a
    linear map of its item is added, which starts as the identity (GRU4Rec on Amazon Beauty, after 3
    epochs: validation NDCG@10 .0594, and .0473 without; 1 seed each).
    """

    def __init__(
        self,
        dim: int,
        *,
        num_layers: int,
        hidden_dim: int,
        input_dropout: float,
        dropout: float,
        residual: bool,
    ) -> None:
        super().__init__()
        check_whole(num_layers=num_layers, hidden_dim=hidden_dim)
        widths = [dim, *[hidden_dim] * num_layers]
        self.input_dropout = Dropout(input_dropout)
        self.layers = nn.ModuleList(
            nn.GRU(before, after, batch_first=True)
            for before, after in zip(widths, widths[1:], strict=False)
        )
        self.dropout = Dropout(dropout)
        self.out = nn.Linear(hidden_dim, dim) if hidden_dim != dim else nn.Identity()
        self.residual = nn.Linear(dim, dim, bias=False) if residual else None
        if self.residual is not None:
            nn.init.eye_(self.residual.weight)

    def forward(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        items = self.input_dropout(vectors)
        return self._given(self._last_states(items), items)

    def last(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Of what stands behind the states, no more than this position is made: [B, 1, D]."""
        at = (lengths - 1).clamp(min=0).unsqueeze(1)
        items = self.input_dropout(vectors)
        return self._given(vectors_at(self._last_states(items), at), vectors_at(items, at))

    def _last_states(self, x: Tensor) -> Tensor:
        """Of the last layer, without its dropout."""
        *before, last = self.layers
        for layer in before:
            x = self.dropout(self._states(layer, x))
        return self._states(last, x)

    def _given(self, states: Tensor, items: Tensor) -> Tensor:
        out: Tensor = self.out(self.dropout(states))
        return out if self.residual is None else out + self.residual(items)

    def _states(self, layer: nn.Module, x: Tensor) -> Tensor:
        if torch.onnx.is_in_onnx_export():
            return _onnx_gru(layer, x)
        on_cpu = x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
        if self.training and on_cpu and not torch.compiler.is_compiling():
            states: Tensor = _Scan.apply(x, *layer.parameters())  # type: ignore[no-untyped-call] # no stub
        else:
            states = layer(x)[0]
        return states


class _Scan(torch.autograd.Function):
    """What nn.GRU gives, with its gradient written out (weights in nn.GRU's order).

    torch differentiates every operation of every step, and adds the weights' gradient up a step at
    a time. Here all factors that do not depend on what comes later are made at once, a step is five
    operations and three back, on views made beforehand, and a weight's gradient is one product: a
    quarter of the time for few short rows (8 x 50, H = 16), nine tenths for 41 x 50, H = 256, the
    same for hundreds of rows.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w_in: Tensor, w_state: Tensor, b_in: Tensor, b_state: Tensor
    ) -> Tensor:
        (rows, length, _), width = x.shape, w_state.shape[1]
        flat = x.transpose(0, 1).flatten(0, 1)  # by time
        pair = 2 * width  # of reset and update, whose two biases are one
        bias = b_in[:pair] + b_state[:pair]
        gates = x.new_empty(length, rows, 3 * width)
        gates[..., :pair] = torch.addmm(bias, flat, w_in[:pair].T).view(length, rows, pair)
        gates[..., pair:] = b_state[pair:]
        new = torch.addmm(b_in[pair:], flat, w_in[pair:].T).view(length, rows, width)
        states = x.new_zeros(length + 1, rows, width)
        state_map = w_state.T.contiguous()  # a product with it takes 0.7 to 0.9 of the time
        views = gates, gates[..., :pair], *gates.chunk(3, dim=-1), new
        steps, (before, *afters) = (view.unbind() for view in views), states.unbind()
        with _small_products(rows, width):
            for gate, both, reset, update, mapped, fresh, after in zip(*steps, afters, strict=True):
                gate.addmm_(before, state_map)
                both.sigmoid_()
                fresh.addcmul_(reset, mapped).tanh_()
                before = torch.lerp(fresh, before, update, out=after)
        ctx.save_for_backward(flat, w_in, w_state, gates, new, states)
        return states[1:].transpose(0, 1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        flat, w_in, w_state, gates, new, states = ctx.saved_tensors
        length, rows, width = new.shape
        reset, update, mapped_new = gates.split(width, dim=-1)
        # What a state's gradient is multiplied by to be that of each gate before its activation;
        # the new one's is through the state first, through the input afterwards.
        of_new = (1 - update) * (1 - new * new)
        factors = gates.new_empty(length, rows, 3, width)
        torch.mul(of_new, reset, out=factors[:, :, 2])
        torch.mul(mapped_new * (1 - reset), factors[:, :, 2], out=factors[:, :, 0])
        torch.mul((states[:-1] - new) * update, 1 - update, out=factors[:, :, 1])
        of_states = grad.transpose(0, 1).clone(memory_format=torch.contiguous_format)
        of_gates = factors.view(length, rows, 3 * width)
        views = of_states, of_states.unsqueeze(2), factors, of_gates, update.contiguous()
        steps = [*zip(*(view.unbind() for view in views), strict=True)]
        befores = [None, *(of_state for of_state, *_ in steps[:-1])]
        with _small_products(rows, width):
            for before, step in zip(reversed(befores), reversed(steps), strict=True):
                of_state, column, by_gate, of_gate, kept = step
                by_gate.mul_(column)
                if before is not None:
                    before.addcmul_(of_state, kept).addmm_(of_gate, w_state)
        of_gates = of_gates.view(length * rows, 3 * width)
        of_w_state, of_b_state = of_gates.T @ states[:-1].flatten(0, 1), of_gates.sum(0)
        torch.mul(of_states, of_new, out=factors[:, :, 2])
        of_x = (of_gates @ w_in).view(length, rows, -1).transpose(0, 1)
        return of_x, of_gates.T @ flat, of_w_state, of_gates.sum(0), of_b_state


def _small_products(rows: int, width: int) -> AbstractContextManager[None]:
    """For a step's product with the states' weights."""
    if rows * width * 3 * width < SMALL_PRODUCT:
        return matmul_precision("ieee")
    return nullcontext()


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
