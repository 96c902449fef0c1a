"""Where the routings of MIND and ComiRec-DR start."""

from __future__ import annotations

import torch
from torch import nn

from rechub_cli.layers.capsule import CapsuleRouting, PositionalRouting
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
    capsules = CapsuleRouting(64, num_interests=4, iterations=3, max_len=5, recency=True)
    positional = PositionalRouting(64, num_interests=4, iterations=3, max_len=5)
    for layer in (capsules, positional):
        assert abs(start(layer) - 1.25**-0.5) < 0.02
    assert not torch.equal(positional.maps[0, 0], positional.maps[0, 1])
