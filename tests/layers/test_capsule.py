"""How many interests a history has, and where their routings start."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from rechub_cli.errors import ConfigError
from rechub_cli.layers.capsule import (
    Agreement,
    CapsuleRouting,
    InterestRouting,
    PositionalRouting,
    interest_counts,
)
from rechub_cli.layers.past import PastItems

ITEMS = torch.nn.functional.normalize(
    torch.randn(256, 1, 64, generator=torch.Generator().manual_seed(1)), dim=-1
)
LENGTHS = torch.ones(256, dtype=torch.int64)


def start(layer: nn.Module) -> float:
    """Mean cosine of the interests of one item with that item."""
    with torch.no_grad():
        interests = layer(PastItems(ITEMS, None), LENGTHS)
    return float(torch.cosine_similarity(interests, ITEMS, dim=-1).mean())


def test_interests_start_near_the_items_of_the_history() -> None:
    # The identity and half of Xavier's draw: 1 / sqrt(1 + 1/4).
    torch.manual_seed(0)
    sizes: Any = {"num_interests": 4, "iterations": 3, "max_len": 5, "agreement": "cosine"}
    capsules = CapsuleRouting(64, recency=True, **sizes)
    positional, shared = PositionalRouting(64, **sizes), InterestRouting(64, **sizes)
    for layer in (capsules, positional, shared):
        assert abs(start(layer) - 1.25**-0.5) < 0.02
    assert not torch.equal(positional.maps[0, 0], positional.maps[0, 1])
    assert not torch.equal(shared.maps[0], shared.maps[1])


def test_one_map_an_interest_is_the_same_map_at_every_position() -> None:
    """Equal to the paper's form, which is held to independent values; gradients too."""
    torch.manual_seed(0)
    sizes: Any = {"num_interests": 3, "iterations": 3, "max_len": 5, "agreement": "dot"}
    shared = InterestRouting(8, **sizes).double()
    positional = PositionalRouting(8, **sizes).double()
    positional.maps.data.copy_(shared.maps.data.expand(5, -1, -1, -1))
    lengths = torch.tensor([3, 7, 0, 1])
    found = []
    for layer in (shared, positional):
        items = torch.randn(4, 7, 8, generator=torch.Generator().manual_seed(1)).double()
        items.requires_grad_()
        interests = layer(PastItems(items), lengths)
        interests.square().sum().backward()
        found.append((interests, items.grad, layer.maps.grad))
    (own, of_items, of_maps), (want, want_items, want_maps) = found
    torch.testing.assert_close(own, want)
    torch.testing.assert_close(of_items, want_items)
    torch.testing.assert_close(of_maps, want_maps.sum(0))


@pytest.mark.parametrize("form", [CapsuleRouting, PositionalRouting, InterestRouting])
def test_a_larger_scale_divides_what_a_user_likes(form: Any) -> None:
    """Of two kinds of items, each interest ends at one; at a small scale both are at both."""
    torch.manual_seed(0)
    more = {"recency": False} if form is CapsuleRouting else {}
    layer = form(16, num_interests=2, iterations=3, max_len=8, agreement="cosine", **more)
    kinds = torch.eye(2, 16)
    items = kinds[torch.tensor([[0, 1, 1, 0, 1, 0, 0, 1]])]
    apart = []
    for scale in (0.1, 30.0):
        layer.agreement.log_scale.data.fill_(math.log(scale))
        with torch.no_grad():
            interests = layer(PastItems(items), torch.tensor([8]))[0]
        apart.append(1 - float(torch.cosine_similarity(*interests, dim=0)))
    assert apart[0] < apart[1] / 2
    assert apart[1] > 0.5


def test_agreements_are_named() -> None:
    with pytest.raises(ConfigError, match="agreement='cos'"):
        Agreement("cos", iterations=3)
    assert Agreement("cosine", iterations=1).log_scale is None  # nothing is compared


def test_a_position_s_weight_counts_from_the_end() -> None:
    """Written out for one row: routing by hand, weights exp(r) of the sum alone."""
    layer = InterestRouting(4, num_interests=2, iterations=2, max_len=3, agreement="dot").double()
    layer.recency.data = torch.tensor([0.5, -1.0, 2.0]).double()
    items = torch.randn(1, 5, 4).double()
    history = items[0, 1:4]  # the last 3 of 4 events
    logits = torch.zeros(2, 3).double()
    for last in (False, True):
        with torch.set_grad_enabled(last):
            share = logits.softmax(0)
            weight = layer.recency.flip(0).exp()
            sums = [layer.maps[k] @ ((share[k] * weight) @ history) for k in (0, 1)]
            interests = [s * s.norm() / (1 + s.norm() ** 2) for s in sums]
            agreed = [history @ (layer.maps[k].T @ interests[k]) for k in (0, 1)]
        logits = logits + torch.stack(agreed)
    found, want = layer(PastItems(items), torch.tensor([4]))[0], torch.stack(interests)
    torch.testing.assert_close(found, want)
    gradients = [torch.autograd.grad(x.square().sum(), layer.recency)[0] for x in (found, want)]
    torch.testing.assert_close(*gradients)


def test_interests_follow_the_logarithm_of_the_length() -> None:
    lengths = torch.tensor([0, 1, 3, 4, 7, 8, 10_000])
    assert interest_counts(lengths, 3).tolist() == [1, 1, 1, 2, 2, 3, 3]
    # 64 may be asked for, and 2^63 is no int64.
    assert interest_counts(lengths, 64).tolist() == [1, 1, 1, 2, 2, 3, 13]
