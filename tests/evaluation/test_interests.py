"""Interest figures by hand, and their alarm. K = 3 interests, D = 2, I = 4 items."""

from __future__ import annotations

import io
from math import e, log, sqrt
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor

from rechub_cli.commands.tables import print_interests
from rechub_cli.data.dataset import MatchData
from rechub_cli.evaluation.interests import (
    collapsed_interests,
    different,
    effective_number,
    effective_rank,
    interest_figures,
    interest_report,
    mean_cosine,
    winners,
)
from rechub_cli.evaluation.model_scores import evaluate_model
from rechub_cli.evaluation.ranking import MISS, Ranking
from rechub_cli.models.matching.base import MatchingModel
from rechub_cli.trainers.match_trainer import MatchTrainer
from tests.contract.conftest import make_model

SLANT = [sqrt(0.5), sqrt(0.5)]
ITEMS = torch.tensor([[1.0, 0.0], [0.0, 1.0], SLANT, [-1.0, 0.0]])
THREE = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]
TWO = [[0.0, 2.0], [2.0, 0.0], [0.0, 2.0]]  # the third repeats the first: unused
ONE = [[0.6, 0.8]] * 3
NOTHING = "no query has two different ones"


def all_used(vectors: Tensor) -> Tensor:
    return torch.ones(vectors.shape[:2], dtype=torch.bool)


def ranking(targets: list[list[int]], tops: list[list[int]], *, missed: int = -1) -> Ranking:
    flat = np.array([t for row in targets for t in row], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in targets])])
    ranks = np.where(flat == missed, MISS, 1)
    return Ranking(ranks, offsets.astype(np.int64), flat, np.array(tops, dtype=np.int64))


def figures(users: list[Any], found: Ranking, *, k: int = 2) -> dict[str, Any]:
    return interest_figures(torch.tensor(users), ITEMS, found, k=k)


def test_a_repeat_of_an_earlier_interest_is_none_of_its_own() -> None:
    found = different(torch.tensor([THREE, TWO, ONE, [[0.0, 0.0]] * 3]))
    assert found.tolist() == [[True] * 3, [True, True, False], *[[True, False, False]] * 2]
    nearly = torch.tensor([[[0.6, 0.8], [0.6, 0.8 + 1e-7], [0.6, 0.801]]])
    assert different(nearly).tolist() == [[True, False, True]]


def test_winners_and_ties_by_hand() -> None:
    users = torch.tensor([THREE, TWO])
    asked = ITEMS[torch.tensor([[0, 1, 3], [2, 1, 3]])]
    # Item 3 against TWO: products 0, -2, 0; the first of the equal ones.
    assert winners(users, different(users), asked).tolist() == [[0, 1, 2], [0, 0, 0]]
    unused = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]]])
    mask = torch.tensor([[True, True, False]])
    assert winners(unused, mask, ITEMS[:1].unsqueeze(0)).tolist() == [[0]]


def test_cosine_and_rank_by_hand() -> None:
    users = torch.tensor([[[1.0, 0.0], [0.0, 3.0], SLANT], [[2.0, 0.0], [1.0, 0.0], [0.0, 5.0]]])
    # cosines 0, .7071, .7071 and 1, 0, 0
    assert mean_cosine(users, all_used(users)).tolist() == pytest.approx([sqrt(2) / 3, 1 / 3])
    used = torch.tensor([[True, True, False], [True, True, False]])
    assert mean_cosine(users, used).tolist() == pytest.approx([0, 1], abs=1e-6)
    # Singular values: two equal ones; one alone; sqrt 2 and 1.
    assert effective_rank(users, used).tolist() == pytest.approx([2, 1], abs=1e-4)
    share = sqrt(2) / (sqrt(2) + 1)
    expected = e ** -(share * log(share) + (1 - share) * log(1 - share))
    assert effective_rank(users, all_used(users))[1] == pytest.approx(expected, abs=1e-5)


def test_effective_number_by_hand() -> None:
    found = effective_number(torch.tensor([[1, 1, 1, 1], [7, 0, 0, 0], [3, 3, 0, 0]]))
    assert found.tolist() == pytest.approx([4, 1, 2])
    assert effective_number(torch.tensor([3.0, 1.0])) == pytest.approx(
        e ** -(0.75 * log(0.75) + 0.25 * log(0.25))
    )


def test_figures_by_hand() -> None:
    """Targets 0 and 3 of THREE go to interests 0 and 2, target 0 of TWO to its interest 1."""
    found = figures(
        [THREE, TWO, ONE],
        ranking([[0, 3], [0], [1]], [[0, 1], [1, -1], [1, 2]]),
    )
    assert (found["queries"], found["queries_with_several"]) == (3, 2)
    assert found["interests_per_query"] == 2.5
    assert found["target_share"] == pytest.approx([1 / 3] * 3)
    assert found["top_share"] == pytest.approx([2 / 3, 1 / 3, 0])
    assert found["effective_wins"] == pytest.approx(3)
    assert found["effective_in_list"] == pytest.approx(1.5)  # 2 and 1
    assert found["cosine"] == pytest.approx(-1 / 6)  # (0 - 1 + 0) / 3 and 0
    assert collapsed_interests(found, least=1) is None


def test_a_target_that_cannot_be_ranked_is_won_by_nobody() -> None:
    found = figures([THREE], ranking([[0, 3]], [[0, 1]], missed=3))
    assert found["target_share"] == [1, 0, 0]


def test_a_number_of_nothing_is_none_and_no_alarm() -> None:
    """No target can be ranked, all are cold, or no list has an item."""
    found = figures([THREE, TWO], ranking([[3], [3]], [[0, 1], [0, 1]], missed=3))
    assert found["effective_wins"] is None
    assert found["effective_in_list"] == 2
    assert collapsed_interests(found, least=1) is None
    found = figures([THREE, TWO], ranking([[3], [0]], [[-1, -1], [-1, -1]]))
    assert (found["effective_in_list"], found["top_share"]) == (None, [0, 0, 0])
    assert collapsed_interests(found, least=1) is None
    alone = figures([ONE], ranking([[0]], [[0, 1]]))
    empty = ("interests_per_query", "effective_wins", "effective_rank", "cosine")
    assert [alone[name] for name in empty] == [None] * 4


def test_a_number_of_nothing_is_printed_as_a_dash() -> None:
    found = figures([THREE], ranking([[0]], [[0, 1]]))
    empty = ("effective_wins", "effective_in_list", "effective_rank", "cosine")
    console = Console(file=io.StringIO(), width=200)
    print_interests(console, "test", found | dict.fromkeys(empty))
    assert (
        "number – by targets, – in a top 2; effective rank –; cosine –" in console.file.getvalue()
    )


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    users, case = [THREE, TWO, ONE, THREE], ranking([[0, 3], [], [1], [1]], [[0, 1]] * 4)
    whole = figures(users, case)
    monkeypatch.setattr("rechub_cli.evaluation.interests.BLOCK_CELLS", 1)
    assert figures(users, case) == whole


@pytest.mark.parametrize(
    ("users", "targets", "tops", "reasons"),
    [
        ([ONE, ONE], [[0], [1]], [[0, 1]] * 2, [NOTHING]),
        (
            [[[1.0, 0], [1.0, 1e-3], [1.0, -1e-3]]] * 3,
            [[0], [1], [3]],
            [[1, 3]] * 3,
            ["mean cosine 1.0000"],
        ),
        ([THREE, THREE], [[0], [0]], [[0, 1]] * 2, ["1.000 by targets won"]),
        ([THREE, TWO], [[0], [0]], [[0, -1], [1, -1]], ["1.000 in a user's top 2"]),
        ([THREE, THREE], [[0], [1]], [[0, 1]] * 2, []),
    ],
)
def test_the_alarm_names_its_reason(
    users: list[Any], targets: list[list[int]], tops: list[list[int]], reasons: list[str]
) -> None:
    found = collapsed_interests(figures(users, ranking(targets, tops)), least=1)
    if not reasons:
        assert found is None
        return
    assert found is not None
    assert found.name == "collapsed_interests"
    assert found.text.count("limit") == len([r for r in reasons if r != NOTHING])
    for reason in reasons:
        assert reason in found.text


MULTI = ("mind", "comirec_dr", "comirec_sa")


def report(model: MatchingModel, data: MatchData) -> dict[str, Any] | None:
    _, found = evaluate_model(model, data, split="test", top_k=[5])
    return interest_report(model, data, found, split="test", k=5)


@pytest.mark.parametrize("name", MULTI)
def test_a_model_broken_on_purpose_fires(name: str, tiny: MatchData) -> None:
    """All interests made equal behind the tower."""
    model = make_model(name, tiny)
    model.user_tower.register_forward_hook(lambda _m, _i, out: out[:, :1].expand_as(out))
    found = report(model, tiny)
    assert found is not None
    assert collapsed_interests(found, least=1) is not None


@pytest.mark.parametrize("name", MULTI)
def test_a_trained_model_does_not(name: str, tiny: MatchData) -> None:
    model = make_model(name, tiny)
    MatchTrainer(model, "listwise", {"lr": 0.01}, 5, batch_size=16, monitor="ndcg@5").fit(tiny)
    found = report(model, tiny)
    assert found is not None
    assert found["queries_with_several"] == 12
    assert collapsed_interests(found, least=1) is None


def test_few_queries_and_short_histories_are_no_alarm(tiny: MatchData) -> None:
    """MIND gives a history of under four items one interest; others give each its own."""
    broken = figures([THREE, THREE], ranking([[0], [0]], [[0, 1]] * 2))
    assert collapsed_interests(broken, least=2) is not None
    assert collapsed_interests(broken) is None
    lengths = torch.tensor([0, 1, 3, 4, 50])
    several = {n: make_model(n, tiny).several_interests(lengths).tolist() for n in MULTI}
    assert several.pop("mind") == [False, False, False, True, True]
    short = make_model("mind", tiny, max_len=3)
    assert short.several_interests(lengths).tolist() == 5 * [False]
    assert set(map(tuple, several.values())) == {(False, True, True, True, True)}
    found = report(make_model("mind", tiny), tiny)
    assert found is not None and found["queries_due"] == 12


def test_mind_counts_the_interests_that_a_history_has(tiny: MatchData) -> None:
    """Test histories of 8 give floor(log2 8) = 3 of the 4."""
    found = report(make_model("mind", tiny), tiny)
    assert found is not None
    assert (found["num_interests"], found["interests_per_query"]) == (4, 3)
    assert found["target_share"][3] == found["top_share"][3] == 0


@pytest.mark.parametrize(("name", "changes"), [("dssm", {}), ("mind", {"interest_num": 1})])
def test_one_vector_a_user_has_no_figures(
    name: str, changes: dict[str, int], tiny: MatchData
) -> None:
    assert report(make_model(name, tiny, **changes), tiny) is None
