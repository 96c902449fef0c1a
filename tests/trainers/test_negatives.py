"""Samplers: what they draw, how often, and what logQ makes of it. I items, Q rows."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from rechub_cli.errors import ConfigError
from rechub_cli.trainers.losses import corrected, full_softmax, sampled_softmax
from rechub_cli.trainers.negatives import KnownPairs, NegativeSampler

COUNTS = torch.tensor([8, 4, 0, 2, 2])
ITEMS = torch.tensor([0, 1, 3, 4])  # row 2 was never trained
TARGET = torch.tensor([0, 1, 0])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sampler(kind: str, num: int = 6, alpha: float = 1.0) -> NegativeSampler:
    return NegativeSampler(kind, ITEMS, COUNTS, num_negatives=num, alpha=alpha)


@pytest.mark.parametrize(
    ("kind", "shared", "shape"),
    [
        ("uniform", True, (6,)),
        ("uniform", False, (3, 6)),
        ("popularity", True, (6,)),
        ("popularity", False, (3, 6)),
        ("in_batch", True, (3,)),
        ("in_batch", False, (3,)),
        ("mixed", True, (9,)),
        ("mixed", False, (3, 9)),
    ],
)
def test_shapes(kind: str, shared: bool, shape: tuple[int, ...]) -> None:
    drawn = sampler(kind).draw(TARGET, generator(), shared=shared)
    assert tuple(drawn.rows.shape) == shape
    assert not (drawn.rows == 2).any()


def test_expected_counts_by_hand() -> None:
    expect = {
        "uniform": [1.5, 1.5, 0, 1.5, 1.5],
        "popularity": [3, 1.5, 0, 0.75, 0.75],
        "in_batch": [1.5, 0.75, 0, 0.375, 0.375],
        "mixed": [3, 2.25, 0, 1.875, 1.875],
    }
    for kind, values in expect.items():
        drawn = sampler(kind).draw(TARGET, generator(), shared=True)
        assert_close(drawn.expected, torch.tensor(values, dtype=torch.float32))


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_popularity_is_drawn_in_proportion(alpha: float) -> None:
    drawn = sampler("popularity", num=40_000, alpha=alpha).draw(TARGET, generator(), shared=True)
    share = torch.bincount(drawn.rows, minlength=5) / 40_000
    wanted = COUNTS.float() ** alpha
    wanted[2] = 0
    assert_close(share, wanted / wanted.sum(), atol=0.01, rtol=0)


def test_draws_are_fresh_and_seeded() -> None:
    one, again = generator(1), generator(1)
    first, second = (sampler("uniform").draw(TARGET, one, shared=True).rows for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(sampler("uniform").draw(TARGET, again, shared=True).rows, first)


@pytest.mark.parametrize("kind", ["uniform", "popularity", "in_batch", "mixed"])
def test_sampled_loss_with_logq_tends_to_the_full_softmax(kind: str) -> None:
    """Value and gradient over 200 draws; without the correction both are far off."""
    noise = generator(2)
    items = torch.randn(40, 8, generator=noise)
    counts = torch.randint(1, 60, (40,), generator=noise)
    queries, target = torch.randn(16, 8, generator=noise), torch.arange(16)
    drawing = NegativeSampler(kind, torch.arange(40), counts, num_negatives=2000)
    pool = torch.multinomial(counts.float(), 200 * 2000, replacement=True, generator=noise)
    values: dict[bool, list[torch.Tensor]] = {True: [], False: []}
    scores = queries @ items.T
    for step in range(200):
        batch = pool[step * 2000 : (step + 1) * 2000]  # in-batch: the other rows of a large batch
        drawn = drawing.draw(batch, noise, shared=True)
        excluded = drawn.rows == target.unsqueeze(1)
        for logq, out in values.items():
            positive, negative = scores[torch.arange(16), target], scores[:, drawn.rows]
            if logq:
                negative = corrected(negative, drawn.expected[drawn.rows])
            out.append(sampled_softmax(positive, negative, excluded=excluded))
    exact = full_softmax(queries, items, target, temperature=1.0)
    assert abs(torch.stack(values[True]).mean() - exact) < 0.01
    assert abs(torch.stack(values[False]).mean() - exact) > 1.0


def test_known_pairs() -> None:
    known = KnownPairs(torch.tensor([0, 0, 2]), torch.tensor([1, 3, 0]), num_items=5)
    found = known.contains(torch.tensor([0, 2]), torch.tensor([[1, 2], [0, 3]]))
    assert found.tolist() == [[True, False], [True, False]]
    shared = known.contains(torch.tensor([0, 1]), torch.tensor([3, 0]))
    assert shared.tolist() == [[True, False], [False, False]]


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="allowed: uniform"):
        sampler("popular")
    with pytest.raises(ConfigError, match="num_negatives >= 1"):
        sampler("uniform", num=0)
