"""How many interests a history has, and where their routings start."""

from __future__ import annotations

import torch
from torch import nn

from rechub_cli.layers.capsule import CapsuleRouting, PositionalRouting, interest_counts
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


def test_interests_follow_the_logarithm_of_the_length() -> None:
    lengths = torch.tensor([0, 1, 3, 4, 7, 8, 10_000])
    assert interest_counts(lengths, 3).tolist() == [1, 1, 1, 2, 2, 3, 3]
    # 64 may be asked for, and 2^63 is no int64.
    assert interest_counts(lengths, 64).tolist() == [1, 1, 1, 2, 2, 3, 13]
