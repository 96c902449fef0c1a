"""Interests that repeat the first one cost nothing and change nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from rechub_cli.features import SequenceFeature, SparseFeature
from rechub_cli.layers.rows import ROW_STEP
from rechub_cli.models.matching.interests import most_interests
from rechub_cli.models.matching.mind import MIND
from rechub_cli.trainers.full_softmax import full_softmax

WIDTH = 8


def mind() -> MIND:
    torch.manual_seed(0)
    history = SequenceFeature("history", 50, WIDTH, shared_with="item")
    params = {"dims": [WIDTH]}
    return MIND([history], [SparseFeature("item", 50, WIDTH)], user_params=params)


def histories(lengths: list[int]) -> dict[str, Tensor]:
    ids = torch.randint(50, (len(lengths), max(*lengths, 1)))
    return {"history": ids, "history_length": torch.tensor(lengths)}


@pytest.mark.parametrize(
    ("lengths", "want"), [([0, 1, 3], 1), ([1, 7, 2], 2), ([0, 15], 3), ([16, 1], 4)]
)
def test_training_scores_as_many_interests_as_the_longest_history_has(
    lengths: list[int], want: int
) -> None:
    model = mind()
    users = model.user_tower(histories(lengths))
    assert most_interests(users) == want
    assert torch.equal(model.queries(users, users[:, 0]), users[:, :want])


def test_interests_between_repeated_ones_are_kept() -> None:
    one, other = torch.zeros(1, 4), torch.ones(1, 4)
    assert most_interests(torch.stack([one, one, other, one], dim=1)) == 3


def test_the_loss_and_its_gradient_are_those_of_all_interests() -> None:
    model, batch, target = mind(), histories([5, 1, 0, 9]), torch.tensor([3, 4, 5, 6])
    found = []
    for queries_of in (lambda users: users, lambda users: model.queries(users, users[:, 0])):
        model.zero_grad()
        items = model.item_tower({"item": torch.arange(50)})
        loss = full_softmax(queries_of(model.user_tower(batch)), items, target, temperature=0.1)
        loss.backward()  # type: ignore[no-untyped-call]
        found.append([loss.detach(), *(p.grad for p in model.parameters())])
    for mine, whole in zip(*found, strict=True):
        assert_close(mine, whole)


@pytest.mark.parametrize("top", [1, 5, 50])
def test_lists_of_each_interest_merged_are_the_best_interest_s_list(top: int) -> None:
    """As an index serves them: the top n of each, of which an item keeps its best score."""
    model = mind()
    users = model.user_tower(histories([16, 3, 0])).detach()
    items = torch.randn(50, WIDTH)
    want = model.scores(users, items).topk(top).values
    for row, interests in enumerate(users):
        lists = (interests @ items.T / model.temperature).topk(top)
        best: dict[int, float] = {}
        for item, score in zip(lists.indices.flatten(), lists.values.flatten(), strict=True):
            best[int(item)] = max(float(score), best.get(int(item), float(score)))
        merged = sorted(best.values(), reverse=True)[:top]
        assert_close(torch.tensor(merged), want[row])


@pytest.mark.parametrize("count", [0, 1, ROW_STEP, 2 * ROW_STEP + 1, 3 * ROW_STEP])
def test_serving_scores_are_the_best_interests(count: int) -> None:
    """``count`` of the users have several interests, the others one."""
    model, total = mind(), 3 * ROW_STEP
    users = torch.randn(total, 1, WIDTH).repeat(1, 4, 1)
    several = torch.randperm(total)[:count]
    users[several, 1:] = torch.randn(count, 3, WIDTH)
    items = torch.randn(50, WIDTH)
    want = torch.einsum("qkd,id->qki", users, items).amax(dim=1) / model.temperature
    assert_close(model.scores(users, items), want)
