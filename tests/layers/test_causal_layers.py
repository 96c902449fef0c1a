"""Dropout, and causal attention on both of its paths. B rows, L length."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from rechub_cli.errors import ConfigError, RechubError
from rechub_cli.layers import transformer
from rechub_cli.layers.dropout import Dropout
from rechub_cli.layers.gru import CausalGRU
from rechub_cli.layers.history import SequenceLayer, last_items
from rechub_cli.layers.past import PastItems
from rechub_cli.layers.transformer import POSITIONS, CausalBlock, CausalTransformer


def bias_of(distance: Tensor) -> Tensor:
    steps = torch.arange(len(distance))
    return transformer.distance_bias(distance, steps.unsqueeze(1) - steps)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean_and_its_share(p: float) -> None:
    torch.manual_seed(0)
    out = Dropout(p)(torch.ones(100_003))
    # Five standard errors of a share over 100,003 draws.
    error = 5 * (p * (1 - p) / 100_003) ** 0.5
    assert abs(float((out == 0).float().mean()) - p) < error
    assert abs(float(out.mean()) - 1) < error / (1 - p)
    assert len(out[out > 0].unique()) == 1


def test_dropout_masks_are_independent_and_seeded() -> None:
    layer, x = Dropout(0.5), torch.ones(64, 65)
    torch.manual_seed(3)
    first, second = layer(x), layer(x)
    torch.manual_seed(3)
    assert torch.equal(layer(x), first)
    same = (first == second).float().mean()
    assert 0.45 < float(same) < 0.55
    neighbours = (first[:, 1:] == first[:, :-1]).float().mean()
    assert 0.45 < float(neighbours) < 0.55


def test_dropout_is_off_in_eval_and_at_zero() -> None:
    x = torch.randn(5, 5)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)


def test_dropout_passes_the_gradient_of_what_it_keeps() -> None:
    x = torch.ones(1000, requires_grad=True)
    out = Dropout(0.25)(x)
    out.sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert_close(x.grad, out.detach())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_dropout_keeps_the_type(dtype: torch.dtype) -> None:
    assert Dropout(0.25)(torch.ones(8, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize("relative", [True, False])
def test_long_and_short_attention_agree(relative: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    qkv = [torch.randn(3, 2, 17, 4) for _ in range(3)]
    bias = bias_of(torch.randn(17, 2)) if relative else None
    short = transformer.causal_attention(*qkv, bias, Dropout(0.0))
    monkeypatch.setattr(transformer, "SHORT", 16)
    assert_close(transformer.causal_attention(*qkv, bias, Dropout(0.0)), short)


@pytest.mark.parametrize("relative", [True, False])
def test_attention_with_dropout_is_that_without_on_average(relative: bool) -> None:
    """It is linear in the weights, of which each is kept with its own chance, scaled up."""
    torch.manual_seed(0)
    qkv = [torch.randn(1, 2, 5, 4) for _ in range(3)]
    bias = bias_of(torch.randn(5, 2)) if relative else None
    plain = transformer.causal_attention(*qkv, bias, Dropout(0.5).eval())
    many = [t.expand(20_000, -1, -1, -1) for t in qkv]
    drawn = transformer.causal_attention(*many, bias, Dropout(0.5))
    error = drawn.std(dim=0) / 20_000**0.5
    assert bool(((drawn.mean(dim=0) - plain[0]).abs() <= 5 * error).all())
    first = drawn[:, :, 0]  # of one weight, 1: dropped, or doubled
    assert bool(((first == 0) | torch.isclose(first, 2 * many[2][:, :, 0])).all())


def transformer_layer(
    positions: str, attention_dropout: float = 0.0, num_blocks: int = 2
) -> CausalTransformer:
    torch.manual_seed(0)
    layer = CausalTransformer(
        8,
        num_blocks=num_blocks,
        num_heads=2,
        hidden_dim=8,
        dropout=0.0,
        attention_dropout=attention_dropout,
        max_len=6,
        positions=positions,
    )
    for block in layer.blocks:
        if block.distance is not None:
            torch.nn.init.normal_(block.distance)  # starts at 0, where it would show nothing
    return layer


@pytest.mark.parametrize("attention_dropout", [0.0, 0.5])
@pytest.mark.parametrize("positions", POSITIONS)
def test_a_later_item_changes_no_earlier_position(positions: str, attention_dropout: float) -> None:
    layer = transformer_layer(positions, attention_dropout)
    one, length = torch.randn(2, 6, 8), torch.tensor([6, 6])
    other = one.clone()
    other[:, 4] = torch.randn(2, 8)
    found = []
    for vectors in (other, one):
        torch.manual_seed(1)
        found.append(layer(vectors, length))
    assert_close(found[0][:, :4], found[1][:, :4])
    assert not torch.allclose(found[0][:, 4:], found[1][:, 4:])


def test_a_length_beyond_the_history_is_an_error_not_another_users_items() -> None:
    vectors, lengths = torch.randn(2, 3, 8), torch.tensor([5, 2])
    for layer in (
        transformer_layer("relative"),
        CausalGRU(8, num_layers=1, hidden_dim=4, input_dropout=0.0, dropout=0.0, residual=False),
    ):
        with pytest.raises(RechubError, match="length 5, and the batch 3 places"):
            layer.last(vectors, lengths)
    index = torch.zeros(2, 3, dtype=torch.int64)
    for past in (PastItems(vectors), PastItems(vectors[0], index)):
        with pytest.raises(RechubError, match="length 5"):
            last_items(past, lengths, max_len=2)


def assert_last_is_of_all(layer: SequenceLayer) -> None:
    """Values and gradients; layer: of float64, 8 wide."""
    lengths = torch.tensor([6, 1, 4])
    vectors = torch.randn(3, 6, 8, dtype=torch.float64, requires_grad=True)
    inputs = (vectors, *layer.parameters())
    whole = layer(vectors, lengths)[torch.arange(3), lengths - 1]
    alone = layer.last(vectors, lengths).squeeze(1)
    assert_close(alone, whole)
    direction = torch.randn_like(whole)
    expected = torch.autograd.grad(whole, inputs, direction)
    for one, other in zip(torch.autograd.grad(alone, inputs, direction), expected, strict=True):
        assert_close(one, other)


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("num_blocks", [1, 2])
def test_the_last_position_alone_is_that_of_all(positions: str, num_blocks: int) -> None:
    assert_last_is_of_all(transformer_layer(positions, num_blocks=num_blocks).double())


@pytest.mark.parametrize(("num_layers", "residual"), [(1, True), (2, False)])
def test_the_last_state_alone_is_that_of_all(num_layers: int, residual: bool) -> None:
    layer = CausalGRU(
        8, num_layers=num_layers, hidden_dim=6, input_dropout=0.0, dropout=0.0, residual=residual
    )
    assert_last_is_of_all(layer.double())


def test_dropouts_of_the_last_state_are_those_of_all() -> None:
    """A share of the items and, of what the states give, another: in both forms."""
    torch.manual_seed(0)
    layer = CausalGRU(8, num_layers=1, hidden_dim=8, input_dropout=0.5, dropout=0.25, residual=True)
    torch.nn.init.constant_(layer.layers[0].bias_ih_l0, 1.0)  # no state is 0 by itself
    vectors, lengths = torch.ones(2000, 2, 8), torch.full((2000,), 2)
    states, items = [], []
    layer.dropout.register_forward_hook(lambda _m, _i, out: states.append(out))
    layer.input_dropout.register_forward_hook(lambda _m, _i, out: items.append(out))
    alone, whole = layer.last(vectors, lengths), layer(vectors, lengths)
    assert_close(alone, states[0] + items[0][:, 1:])
    assert_close(whole, states[1] + items[1])
    for dropped, share in ((states[0], 0.25), (states[1], 0.25), (items[0], 0.5)):
        assert abs(float((dropped == 0).float().mean()) - share) < 0.02


def test_attention_weights_of_the_last_position_are_dropped_too() -> None:
    layer, lengths = transformer_layer("relative", attention_dropout=0.5), torch.tensor([6])
    vectors = torch.randn(1, 6, 8)
    plain = layer.eval().last(vectors, lengths)
    torch.manual_seed(1)
    block = layer.train().blocks[-1]
    at = lengths - 1
    assert not torch.allclose(block(vectors, at), block.eval()(vectors, at))
    assert torch.equal(layer.eval().last(vectors, lengths), plain)


def test_relative_positions_train_each_target_as_it_is_served() -> None:
    """The vector inside a window is the one that its prefix alone has at its end."""
    layer = transformer_layer("relative")
    window = torch.randn(1, 6, 8)
    inside = layer(window, torch.tensor([6]))
    for end in range(1, 7):
        assert_close(layer(window[:, :end], torch.tensor([end]))[0, -1], inside[0, end - 1])


def test_distance_bias_by_hand() -> None:
    bias = bias_of(torch.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]))
    no = -torch.inf
    first = torch.tensor([[1.0, no, no], [2.0, 1.0, no], [3.0, 2.0, 1.0]])
    assert_close(bias, torch.stack([first, 10 * first]))


def test_unknown_positions_are_named() -> None:
    with pytest.raises(ConfigError, match="positions='ends'.*Did you mean 'end'"):
        transformer_layer("ends")


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("length", [1, 6])
def test_states_in_training_are_those_of_torch_and_so_are_gradients(rows: int, length: int) -> None:
    """Of two layers; in evaluation they are torch's own."""
    torch.manual_seed(0)
    layer = CausalGRU(
        3, num_layers=2, hidden_dim=5, input_dropout=0.0, dropout=0.0, residual=False
    ).double()
    x = torch.randn(rows, length, 3, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(rows, length, 3, dtype=torch.float64)
    found = []
    for training in (True, False):
        out = layer.train(training)(x, torch.full((rows,), length))
        found.append([out, *torch.autograd.grad(out, [x, *layer.parameters()], upstream)])
    assert_close(found[0], found[1])
    # The first is ours: torch's own would agree with itself.
    ours = layer.train()._states(layer.layers[0], x).grad_fn
    assert "Scan" in type(ours).__name__


def test_gradients_of_the_states_by_differences() -> None:
    torch.manual_seed(0)
    layer = CausalGRU(
        2, num_layers=1, hidden_dim=3, input_dropout=0.0, dropout=0.0, residual=False
    ).double()
    x = torch.randn(2, 4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: layer(x, torch.tensor([4, 4])), (x,))


def test_each_item_is_added_to_the_state_that_follows_it() -> None:
    """By a linear map that starts as the identity."""
    plain, added = (
        CausalGRU(4, num_layers=1, hidden_dim=3, input_dropout=0.0, dropout=0.0, residual=residual)
        for residual in (False, True)
    )
    added.load_state_dict(plain.state_dict(), strict=False)
    x, lengths = torch.randn(2, 5, 4), torch.tensor([5, 5])
    assert_close(added(x, lengths), plain(x, lengths) + x)
    weight = torch.randn(4, 4)
    assert added.residual is not None
    added.residual.weight.data = weight
    assert_close(added(x, lengths), plain(x, lengths) + x @ weight.T)


def test_attention_starts_among_the_items_that_it_sees() -> None:
    """Of one item it gives, through two maps near the identity: cosine 1 / (1 + 1/4)."""
    torch.manual_seed(0)
    block = CausalBlock(64, num_heads=2, hidden_dim=64, dropout=0.0)
    block.feed_forward[2].weight.data.zero_()
    x = torch.randn(256, 1, 64)
    added = block(x) - x
    cosine = torch.cosine_similarity(added, x - x.mean(-1, keepdim=True), dim=-1)
    assert abs(float(cosine.mean().detach()) - 0.8) < 0.02


def test_the_item_that_is_added_is_what_dropout_left_of_it() -> None:
    layer = CausalGRU(4, num_layers=1, hidden_dim=3, input_dropout=0.5, dropout=0.0, residual=True)
    for parameter in layer.out.parameters():
        parameter.data.zero_()
    out = layer(torch.ones(64, 5, 4), torch.full((64,), 5))
    assert out.unique().tolist() == [0.0, 2.0]
    assert layer.eval()(torch.ones(1, 5, 4), torch.tensor([5])).unique().tolist() == [1.0]


@pytest.mark.parametrize(("p", "share"), [(0.999999, 65535), (1e-7, 1)])
def test_a_share_near_an_end_of_its_range_is_rounded_to_the_next(p: float, share: int) -> None:
    assert Dropout(p).threshold == share
    assert bool(Dropout(p)(torch.ones(10_000)).isfinite().all())
