"""What sampling does to a loss: its bias in value and gradient, over many draws. Q rows, I items.

1000 items of Zipf popularity, 32 rows whose targets are drawn by it, random scores that know the
popularity in part (mean probability of the positive .05). A row's gradient is that of its scores;
a bias in it is given as a share of the full gradient's norm, freed of the draws' own noise. The
tolerance is four measured standard errors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from rechub_cli.trainers.full_softmax import full_softmax
from rechub_cli.trainers.losses import (
    PairLoss,
    bce,
    bpr,
    bpr_max,
    gbce_beta,
    logq_scores,
    sampled_softmax,
    weighted_softmax,
)
from rechub_cli.trainers.negatives import NegativeSampler, hardest
from rechub_cli.trainers.rules import LOGQ
from tests.conftest import ROOT

ITEMS, ROWS, BLOCKS = 1000, 32, 10
COUNTS = (10_000 / torch.arange(1, ITEMS + 1)).round().long()
SHARE = COUNTS.double() / COUNTS.sum()
INDEX = torch.arange(ROWS)


def world() -> tuple[Tensor, Tensor]:
    """Scores [Q, I] and targets [Q]."""
    generator = torch.Generator().manual_seed(0)
    target = torch.multinomial(SHARE, ROWS, generator=generator)
    scores = torch.randn(ROWS, ITEMS, generator=generator, dtype=torch.float64)
    scores += 0.5 * COUNTS.double().log()
    scores[INDEX, target] += 3.0
    return scores, target


SCORES, TARGET = world()
OWN = torch.arange(ITEMS) == TARGET.unsqueeze(1)  # [Q, I]


@dataclass(frozen=True)
class Bias:
    """value, gradient: see above. *_error: standard errors, gradient's that of its square."""

    value: float
    value_error: float
    gradient: float
    gradient_error: float


def bias_of(
    draw: Callable[[torch.Generator], tuple[NegativeSampler, Tensor, int]],
    loss: PairLoss,
    *,
    logq: str = "none",
    keep: int | None = None,
    exact: Callable[[Tensor], Tensor],
    draws: int = 100,
) -> Bias:
    """Of a loss over ``draws`` draws against ``exact``, a loss of all the scores [Q, I]."""
    generator = torch.Generator().manual_seed(1)
    values, gradients = [], []
    for _ in range(draws):
        sampler, rows, batch_size = draw(generator)
        scores = SCORES.clone().requires_grad_()
        positive, negative = scores[INDEX, TARGET], scores.gather(1, rows.expand(ROWS, -1))
        excluded = rows.expand(ROWS, -1) == TARGET.unsqueeze(1)
        if keep is not None:
            negative, excluded = hardest(negative, excluded, keep)
        if logq != "none":
            positive, negative = logq_scores(
                positive,
                negative,
                excluded=excluded,
                form=logq,
                positive_count=sampler.expected(TARGET, batch_size=batch_size),
                negative_count=sampler.expected(rows, batch_size=batch_size),
            )
        value = loss(positive, negative, excluded=excluded)
        value.backward()  # type: ignore[no-untyped-call]
        assert scores.grad is not None
        values.append(value.detach())
        gradients.append(scores.grad)
    full = SCORES.clone().requires_grad_()
    wanted = exact(full)
    wanted.backward()  # type: ignore[no-untyped-call]
    assert full.grad is not None
    value, found = torch.stack(values), torch.stack(gradients)
    size = draws // BLOCKS
    off = (found - full.grad).view(BLOCKS, size, -1)
    # |mean|^2 over pairs of different draws: the noise of a draw is in none of them.
    square = (off.sum(1).square().sum(1) - off.square().sum((1, 2))) / (size * (size - 1))
    square /= full.grad.square().sum()
    return Bias(
        value=(value.mean() - wanted.detach()).item(),
        value_error=(value.std() / draws**0.5).item(),
        gradient=square.mean().clamp(min=0).sqrt().item(),
        gradient_error=(square.std() / BLOCKS**0.5).item(),
    )


def drawing(
    kind: str, num: int
) -> Callable[[torch.Generator], tuple[NegativeSampler, Tensor, int]]:
    """Draws of ``num`` candidates a row: [Q, num]; of mixed half from the batch."""
    in_batch = {"in_batch": num, "mixed": num // 2}.get(kind, 0)
    sampler = NegativeSampler(kind, torch.arange(ITEMS), COUNTS, num_negatives=num - in_batch)

    def draw(generator: torch.Generator) -> tuple[NegativeSampler, Tensor, int]:
        if not in_batch:
            return sampler, sampler.draw(TARGET, generator, shared=False)[0], ROWS
        # A row's batch: itself, and others that are events like any.
        others = torch.multinomial(
            SHARE, ROWS * (in_batch - 1), replacement=True, generator=generator
        )
        drawn = torch.randint(ITEMS, (ROWS, num - in_batch), generator=generator)
        rows = torch.cat([TARGET.unsqueeze(1), others.view(ROWS, -1), drawn], dim=1)
        return sampler, rows, in_batch

    return draw


def exact_softmax(scores: Tensor) -> Tensor:
    return full_softmax(scores, torch.eye(ITEMS, dtype=scores.dtype), TARGET, temperature=1.0)


def exact_weighted(scores: Tensor) -> Tensor:
    """The weighted form over every other item."""
    return weighted_softmax(scores[INDEX, TARGET], scores, excluded=OWN)


def test_the_weighted_form_of_all_items_has_the_full_softmax_s_gradient() -> None:
    one, other = SCORES.clone().requires_grad_(), SCORES.clone().requires_grad_()
    exact_softmax(one).backward()  # type: ignore[no-untyped-call]
    exact_weighted(other).backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(one.grad, other.grad)


def readme_table(head: str) -> dict[tuple[str, str], tuple[float, float]]:
    """(row, column) -> README's bias of the gradient, as a share, and of the value."""
    text = (ROOT / "README.md").read_text()
    lines = text[text.index(head) :].split("\n\n", 1)[0].splitlines()
    columns, _, *rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines]
    found = {}
    for name, *cells in rows:
        for column, cell in zip(columns[1:], cells, strict=True):
            gradient, value = cell.split("%, ")
            found[name, column] = float(gradient) / 100, float(value)
    return found


FIGURES = {
    (logq, column.split()[0], int(column.split()[1])): found
    for (logq, column), found in readme_table("| logq |").items()
}
PAIR_FIGURES = readme_table("| loss | popularity |")


def test_every_form_and_sampler_has_its_figure() -> None:
    kinds = ("uniform", "popularity", "in_batch", "mixed")
    assert set(FIGURES) == {(q, k, n) for q in LOGQ for k in kinds for n in (10, 100)}


@pytest.mark.parametrize(("logq", "kind", "num"), FIGURES)
def test_the_sampled_softmax_is_as_biased_as_stated(logq: str, kind: str, num: int) -> None:
    gradient, value = FIGURES[logq, kind, num]
    weighted = logq == "weighted"
    found = bias_of(
        drawing(kind, num),
        weighted_softmax if weighted else sampled_softmax,
        logq=logq,
        exact=exact_weighted if weighted else exact_softmax,
    )
    assert_stated(found, gradient=gradient, value=value)


def assert_stated(found: Bias, *, gradient: float, value: float) -> None:
    """Within four standard errors and the rounding of the figures, .01 and .001."""
    assert abs(found.value - value) < 4 * found.value_error + 0.005
    rounding = 2 * gradient * 0.0005 + 0.0005**2
    assert abs(found.gradient**2 - gradient**2) < 4 * found.gradient_error + rounding


def of_all_items(loss: PairLoss) -> Callable[[Tensor], Tensor]:
    return lambda scores: loss(scores[INDEX, TARGET], scores, excluded=OWN)


@pytest.mark.parametrize("num", [10, 100])
def test_bpr_is_unbiased(num: int) -> None:
    found = bias_of(drawing("uniform", num), bpr, exact=of_all_items(bpr))
    assert_stated(found, gradient=0.0, value=0.0)


def bce_over_all(num: int, beta: float = 1.0) -> Callable[[Tensor], Tensor]:
    """What bce with ``num`` uniform negatives estimates."""

    def exact(scores: Tensor) -> Tensor:
        others = softplus(scores).masked_fill(OWN, 0.0).sum(1) * num / (ITEMS - 1)
        return (beta * softplus(-scores[INDEX, TARGET]) + others).mean() / (1 + num)

    return exact


def test_pairs_have_a_figure_for_every_sampler_that_is_not_uniform() -> None:
    assert set(PAIR_FIGURES) == {
        (loss, kind) for loss in ("bce", "bpr") for kind in ("popularity", "in_batch", "mixed")
    }


@pytest.mark.parametrize(("name", "kind"), PAIR_FIGURES)
def test_pairs_are_as_biased_as_stated(name: str, kind: str) -> None:
    gradient, value = PAIR_FIGURES[name, kind]
    loss, exact = (bpr, of_all_items(bpr)) if name == "bpr" else (bce, bce_over_all(100))
    assert_stated(bias_of(drawing(kind, 100), loss, exact=exact), gradient=gradient, value=value)


@pytest.mark.parametrize("t", [0.0, 0.5, 1.0])
def test_gbce_moves_from_a_heavy_positive_to_bce_over_the_catalogue(t: float) -> None:
    """k of I - 1: the negatives weigh alpha = k / (I - 1) of what they would, the positive beta.

    At t = 1 beta is alpha, and the loss estimates BCE over the catalogue (times alpha); at t = 0,
    plain BCE, the positive weighs 1 / alpha as much as there.
    """
    num = 100
    alpha, beta = num / (ITEMS - 1), gbce_beta(t, num_negatives=num, num_items=ITEMS)

    found = bias_of(drawing("uniform", num), partial(bce, beta=beta), exact=bce_over_all(num, beta))
    assert_stated(found, gradient=0.0, value=0.0)
    assert beta / alpha == pytest.approx(1 + (1 - t) * (1 / alpha - 1))


@pytest.mark.parametrize(
    ("bpreg", "num", "gradient", "value"),
    [
        (0.0, 10, 0.306, -0.052),
        (0.0, 100, 0.169, -0.011),
        (0.5, 10, 0.912, -1.46),
        (0.5, 100, 0.671, -0.34),
    ],
)
def test_bpr_max_is_as_biased_as_stated(
    bpreg: float, num: int, gradient: float, value: float
) -> None:
    loss = partial(bpr_max, bpreg=bpreg)
    found = bias_of(drawing("uniform", num), loss, exact=of_all_items(loss))
    assert_stated(found, gradient=gradient, value=value)


@pytest.mark.parametrize(
    ("num", "pool", "gradient", "value"),
    [(10, 100, 0.415, -2.54), (10, 500, 0.319, -1.96), (100, 500, 0.116, -1.06)],
)
def test_hard_negatives_leave_the_softmax_as_biased_as_stated(
    num: int, pool: int, gradient: float, value: float
) -> None:
    """Never unbiased: nothing is known of how often the model picks what."""
    sampler = NegativeSampler(
        "hard", torch.arange(ITEMS), COUNTS, num_negatives=num, pool_size=pool
    )
    found = bias_of(
        lambda g: (sampler, sampler.draw(TARGET, g, shared=True)[0], ROWS),
        sampled_softmax,
        keep=num,
        exact=exact_softmax,
    )
    assert_stated(found, gradient=gradient, value=value)
