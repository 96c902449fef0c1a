"""Losses against hand-made values. Q queries, C candidates, N negatives, D width."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from rechub_cli.errors import ConfigError
from rechub_cli.trainers import full_softmax as chunked
from rechub_cli.trainers.full_softmax import Excluded, full_softmax
from rechub_cli.trainers.losses import (
    bce,
    bpr,
    bpr_max,
    corrected,
    gbce_beta,
    logq_scores,
    sampled_softmax,
    weighted_softmax,
)
from rechub_cli.trainers.options import LossOptions
from rechub_cli.trainers.steps import _pair_loss

NONE = torch.zeros(1, 2, dtype=torch.bool)
PAIR_LOSSES = {
    "sampled_softmax": sampled_softmax,
    "weighted_softmax": weighted_softmax,
    "bpr": bpr,
    "bpr_max": partial(bpr_max, bpreg=0.5),
    "bce": bce,
}


def dense_softmax(
    queries: Tensor,
    items: Tensor,
    target: Tensor,
    temperature: float,
    weight: Tensor | None,
    excluded: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    scores = queries @ items.T / temperature
    if queries.dim() == 3:
        scores = scores.max(dim=1).values
    if bias is not None:
        scores = scores + bias
    if excluded is not None:
        scores = scores.masked_fill(excluded, -torch.inf)
    rows = torch.nn.functional.cross_entropy(scores, target, reduction="none")
    return rows.mean() if weight is None else (rows * weight).sum() / weight.sum()


def biases(target: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Of 11 items, of each row's target, and of both for every row, [Q, 11]."""
    bias, own_bias = (
        torch.randn(n, generator=generator, dtype=torch.float64) for n in (11, len(target))
    )
    bias[::3] = -torch.inf
    every = bias.repeat(len(target), 1)
    every[torch.arange(len(target)), target] = own_bias  # in place of its item's
    return bias, own_bias, every


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("some_excluded", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("chunk", [1, 3, 512])
@pytest.mark.parametrize("interests", [(), (1,), (3,)])
@pytest.mark.parametrize("step", [1, 4])
def test_full_softmax_is_the_dense_one(
    step: int,
    weighted: bool,
    chunk: int,
    interests: tuple[int, ...],
    some_excluded: bool,
    biased: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chunked, "CHUNK_ROWS", chunk)
    monkeypatch.setattr(chunked, "ROW_STEP", step)
    monkeypatch.setattr(chunked, "COLUMN_STEP", step)
    monkeypatch.setattr(chunked, "SPREAD", 4 * chunk)
    generator = torch.Generator().manual_seed(0)
    values = [
        torch.randn(s, generator=generator, dtype=torch.float64)
        for s in ((7, *interests, 4), (11, 4))
    ]
    target = torch.randint(11, (7,), generator=generator)
    weight = torch.rand(7, generator=generator, dtype=torch.float64) if weighted else None
    mask, excluded = None, None
    if some_excluded:
        mask = torch.rand(7, 11, generator=generator) < 0.4
        stop = mask.sum(dim=1).cumsum(0)
        excluded = Excluded(stop - mask.sum(dim=1), stop, mask.nonzero()[:, 1])
        mask[torch.arange(7), target] = False  # a target stays, listed or not
    bias, own_bias, every = biases(target, generator) if biased else (None, None, None)
    options = {"excluded": excluded, "bias": bias, "own_bias": own_bias, "weight": weight}
    grads, found = [], []
    for loss in (
        lambda q, v: full_softmax(q, v, target, temperature=0.3, **options),
        lambda q, v: dense_softmax(q, v, target, 0.3, weight, mask, every),
    ):
        queries, items = (v.clone().requires_grad_() for v in values)
        value = loss(queries, items)
        (2 * value).backward()  # type: ignore[no-untyped-call]
        found.append(value.detach())
        grads.append((queries.grad, items.grad))
    assert_close(found[0], found[1])
    for mine, dense in zip(*grads, strict=True):
        assert_close(mine, dense)


def test_equal_interests_share_one_gradient() -> None:
    """A row whose interests repeat each other learns as one with a single interest."""
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(5, 1, 4, generator=generator)
    items = torch.randn(9, 4, generator=generator)
    target = torch.arange(5)
    grads = []
    for given in (one, one.expand(-1, 3, -1)):
        queries = given.clone().requires_grad_()
        table = items.clone().requires_grad_()
        full_softmax(queries, table, target, temperature=0.3).backward()  # type: ignore[no-untyped-call]
        assert queries.grad is not None
        grads.append((queries.grad.sum(dim=1), table.grad))
    assert_close(grads[1], grads[0])


def test_full_softmax_by_hand() -> None:
    """Scores 0, ln 2 and ln 5 give the probabilities 1/8, 2/8, 5/8."""
    items = torch.tensor([[0.0], [math.log(2)], [math.log(5)]])
    loss = full_softmax(torch.ones(1, 1), items, torch.tensor([1]), temperature=1.0)
    assert loss.item() == pytest.approx(math.log(4), abs=1e-6)


def test_full_softmax_survives_large_scores() -> None:
    """Where the target's probability is no longer a number above 0, and where it all but is 1."""
    items = torch.tensor([[1e4], [0.0]])
    for target, want in ((1, 1e5), (0, 0.0)):
        loss = full_softmax(torch.ones(1, 1), items, torch.tensor([target]), temperature=0.1)
        assert loss.item() == pytest.approx(want)
    halfway = torch.tensor([[95.0], [0.0]])  # exp(-95): a denormal, of few digits
    loss = full_softmax(torch.ones(1, 1), halfway, torch.tensor([1]), temperature=1.0)
    assert loss.item() == pytest.approx(95.0, abs=1e-5)


def test_sampled_softmax_by_hand() -> None:
    """exp: positive 2, negatives 1 and 5 -> 2/8; without the second 2/3."""
    positive = torch.tensor([math.log(2)])
    negative = torch.tensor([[0.0, math.log(5)]])
    loss = sampled_softmax(positive, negative, excluded=NONE)
    assert loss.item() == pytest.approx(math.log(4), abs=1e-6)
    hit = torch.tensor([[False, True]])
    loss = sampled_softmax(positive, negative, excluded=hit)
    assert loss.item() == pytest.approx(math.log(1.5), abs=1e-6)


def test_sampled_softmax_over_the_whole_catalogue_is_the_full_one() -> None:
    generator = torch.Generator().manual_seed(0)
    queries, items = (torch.randn(s, 3, generator=generator) for s in (5, 9))
    target = torch.randint(9, (5,), generator=generator)
    scores = queries @ items.T
    sampled = sampled_softmax(
        scores[torch.arange(5), target], scores, excluded=torch.arange(9) == target.unsqueeze(1)
    )
    assert_close(sampled, full_softmax(queries, items, target, temperature=1.0))


def test_bpr_by_hand() -> None:
    """-log sigmoid(ln 3) = ln(4/3), -log sigmoid(0) = ln 2; the mean over negatives."""
    loss = bpr(torch.tensor([math.log(3)]), torch.tensor([[0.0, math.log(3)]]), excluded=NONE)
    assert loss.item() == pytest.approx((math.log(4 / 3) + math.log(2)) / 2, abs=1e-6)
    hit = torch.tensor([[False, True]])
    loss = bpr(torch.tensor([math.log(3)]), torch.tensor([[0.0, math.log(3)]]), excluded=hit)
    assert loss.item() == pytest.approx(math.log(4 / 3), abs=1e-6)


def test_bce_by_hand() -> None:
    """s(ln 3) = 3/4 for the positive, s(0) = 1/2 and s(ln 3) = 3/4 for the negatives."""
    positive, negative = torch.tensor([math.log(3)]), torch.tensor([[0.0, math.log(3)]])
    loss = bce(positive, negative, excluded=NONE)
    assert loss.item() == pytest.approx((math.log(4 / 3) + math.log(2) + math.log(4)) / 3, abs=1e-6)
    loss = bce(positive, negative, excluded=torch.tensor([[True, False]]))
    assert loss.item() == pytest.approx((math.log(4 / 3) + math.log(4)) / 2, abs=1e-6)


def test_gbce_by_hand() -> None:
    """5 of 20 others: alpha = 1/4. t = 0, 2/3, 1: beta = 1, 1 - 2/3 * 3/4 = 1/2, alpha.

    With beta = 1/2 and the scores of the test above: (ln(4/3) / 2 + ln 2 + ln 4) / 3.
    """
    found = [gbce_beta(t, num_negatives=5, num_items=21) for t in (0.0, 2 / 3, 1.0)]
    assert found == pytest.approx([1.0, 0.5, 0.25])
    positive, negative = torch.tensor([math.log(3)]), torch.tensor([[0.0, math.log(3)]])
    loss = bce(positive, negative, excluded=NONE, beta=0.5)
    assert loss.item() == pytest.approx((math.log(4 / 3) / 2 + math.log(8)) / 3, abs=1e-6)
    with pytest.raises(ConfigError, match="num_negatives=5 over 5 items"):
        gbce_beta(0.5, num_negatives=5, num_items=5)


def test_bpr_max_by_hand() -> None:
    """Positive ln 3, negatives 0 and ln 3: their softmax weighs 1/4 and 3/4.

    sigmoid(ln 3 - 0) = 3/4 and sigmoid(0) = 1/2: 1/4 * 3/4 + 3/4 * 1/2 = 9/16.
    Penalty: 3/4 (ln 3)^2, times bpreg. Without the second negative: -ln(3/4), penalty 0.
    The score of a negative moves the weights too: d(-ln likelihood) / d(negative 0) =
    -(w0 (s0 - 9/16) - w0 s0 (1 - s0)) / (9/16) = -(1/4 * 3/16 - 1/4 * 3/16) / (9/16) = 0.
    """
    positive = torch.tensor([math.log(3)])
    negative = torch.tensor([[0.0, math.log(3)]], requires_grad=True)
    plain = bpr_max(positive, negative, excluded=NONE, bpreg=0.0)
    assert plain.item() == pytest.approx(math.log(16 / 9), abs=1e-6)
    plain.backward()  # type: ignore[no-untyped-call]
    assert negative.grad is not None
    assert negative.grad[0, 0].item() == pytest.approx(0.0, abs=1e-7)
    loss = bpr_max(positive, negative, excluded=NONE, bpreg=0.5)
    assert loss.item() == pytest.approx(math.log(16 / 9) + 0.375 * math.log(3) ** 2, abs=1e-6)
    loss = bpr_max(positive, negative, excluded=torch.tensor([[False, True]]), bpreg=0.5)
    assert loss.item() == pytest.approx(math.log(4 / 3), abs=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 0.07])
def test_bpr_max_s_penalty_is_of_products_whatever_the_temperature(temperature: float) -> None:
    """One negative, whose product is 0.5: bpreg / 4."""
    positive, negative = torch.tensor([0.9]), torch.tensor([[0.5]])
    with_penalty, without = (
        _pair_loss(LossOptions("bpr_max", bpreg=bpreg), temperature)(
            positive / temperature, negative / temperature, excluded=NONE[:, :1]
        )
        for bpreg in (2.0, 0.0)
    )
    assert_close(with_penalty - without, torch.tensor(0.5))


def test_weighted_softmax_by_hand() -> None:
    """exp: positive 2, negatives 1 and 5: 1 - P = 6/8, surplus = ln(6/2).

    The gradient at the positive is -(1 - P); at the negatives it shares 1 - P as 1 to 5.
    """
    positive = torch.tensor([math.log(2)], requires_grad=True)
    negative = torch.tensor([[0.0, math.log(5)]], requires_grad=True)
    loss = weighted_softmax(positive, negative, excluded=NONE)
    assert loss.item() == pytest.approx(0.75 * math.log(3), abs=1e-6)
    loss.backward()  # type: ignore[no-untyped-call]
    assert positive.grad is not None
    assert negative.grad is not None
    assert positive.grad.item() == pytest.approx(-0.75)
    assert negative.grad[0].tolist() == pytest.approx([0.125, 0.625])


def test_logq_forms_by_hand() -> None:
    """6 draws by q = 1/3 (the positive), 1/2 (a) and 1/6 (b): expected counts 2, 3 and 1.

    Drawn are + + + a a b; the first three are excluded. weighted: Q'_a = 1/2 / (1 - 1/3) = 3/4 and
    Q'_b = 1/4, times the 3 that are left: 9/4 and 3/4.
    """
    expected = {"negatives": (1, 3, 1), "both": (2, 3, 1), "weighted": (1, 9 / 4, 3 / 4)}
    for form, counts in expected.items():
        positive, negative = logq_scores(
            torch.tensor([5.0]),
            torch.full((1, 6), 7.0),
            excluded=torch.tensor([[True, True, True, False, False, False]]),
            form=form,
            positive_count=torch.tensor([2.0]),
            negative_count=torch.tensor([2.0, 2.0, 2.0, 3.0, 3.0, 1.0]),
        )
        found = [positive.item(), negative[0, 3].item(), negative[0, 5].item()]
        wanted = [score - math.log(n) for score, n in zip((5, 7, 7), counts, strict=True)]
        assert found == pytest.approx(wanted, abs=1e-6), form


@pytest.mark.parametrize("loss", PAIR_LOSSES.values(), ids=PAIR_LOSSES)
def test_a_row_of_excluded_negatives_costs_no_nan(loss: object) -> None:
    positive = torch.tensor([0.5], requires_grad=True)
    value = loss(positive, torch.zeros(1, 2), excluded=torch.ones(1, 2, dtype=torch.bool))  # type: ignore[operator]
    value.backward()
    assert torch.isfinite(value)
    assert positive.grad is not None
    assert torch.isfinite(positive.grad).all()


@pytest.mark.parametrize("loss", PAIR_LOSSES.values(), ids=PAIR_LOSSES)
def test_weights_multiply_rows(loss: object) -> None:
    positive, negative = torch.tensor([0.3, -1.0]), torch.tensor([[0.1, 0.7], [0.2, -0.4]])
    excluded = torch.zeros(2, 2, dtype=torch.bool)
    rows = [
        loss(positive[i : i + 1], negative[i : i + 1], excluded=excluded[:1])  # type: ignore[operator]
        for i in range(2)
    ]
    weighted = loss(positive, negative, excluded=excluded, weight=torch.tensor([3.0, 1.0]))  # type: ignore[operator]
    assert_close(weighted, (3 * rows[0] + rows[1]) / 4)


@pytest.mark.parametrize(
    "loss",
    [
        lambda q, v, w: full_softmax(q, v, torch.arange(5), temperature=0.3, weight=w),
        *(
            lambda q, v, w, loss=loss: loss(
                q[:, 0], q @ v.T, excluded=torch.zeros(5, 9, dtype=torch.bool), weight=w
            )
            for loss in PAIR_LOSSES.values()
        ),
    ],
)
def test_a_batch_of_no_weight_costs_nothing(loss: Callable[..., Tensor]) -> None:
    generator = torch.Generator().manual_seed(0)
    queries, items = (torch.randn(n, 4, generator=generator).requires_grad_() for n in (5, 9))
    value = loss(queries, items, torch.zeros(5))
    grads = torch.autograd.grad(value, (queries, items))
    assert value.item() == 0
    assert not any(grad.any() for grad in grads)


def test_logq_by_hand() -> None:
    found = corrected(torch.tensor([1.0, 2.0]), torch.tensor([1.0, math.e]))
    assert_close(found, torch.tensor([1.0, 1.0]))


def test_a_share_too_small_for_a_number_has_a_logarithm() -> None:
    found = corrected(torch.zeros(2), torch.tensor([0.0, 1.0]))
    assert bool(found.isfinite().all()) and found[0] > 80


def test_a_second_gradient_of_the_softmax_is_refused() -> None:
    queries, items = torch.randn(3, 4, requires_grad=True), torch.randn(5, 4)
    scale = torch.ones((), requires_grad=True)
    loss = full_softmax(queries, items, torch.tensor([0, 1, 2]), temperature=1.0) * scale
    (first,) = torch.autograd.grad(loss, queries, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        (first.sum() + queries.square().sum()).backward()
