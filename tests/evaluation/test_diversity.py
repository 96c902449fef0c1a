"""Greedy lists by category, by hand and against every list. b queries, N candidates."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rechub_cli.data.dataset import MatchData, SplitOptions, prepare
from rechub_cli.data.feature_options import FeatureOptions
from rechub_cli.errors import ConfigError
from rechub_cli.evaluation.compare import rank_scorer
from rechub_cli.evaluation.diversity import (
    NONE,
    differ,
    diversity_curve,
    item_categories,
    list_diversity,
    rerank,
)
from tests.contract.conftest import tiny_raw

KINDS = torch.tensor([[[0, 1], [1, 2], [2, NONE], [NONE, NONE], [3, 4]]])


def test_items_differ_when_they_share_no_category() -> None:
    """And an item without a category differs from none."""
    assert differ(KINDS, KINDS[:, 0]).tolist() == [[False, False, True, False, True]]
    assert differ(KINDS, KINDS[:, 2]).tolist() == [[True, False, False, False, True]]
    assert differ(KINDS, KINDS[:, 3]).tolist() == [[False] * 5]


def test_share_of_differing_pairs_by_hand() -> None:
    """Of the list's 10 pairs those of items 0-2, 0-4, 1-4 and 2-4 differ."""
    lists = torch.tensor([[0, 1, 2, 3, 4], [0, 4, -1, -1, -1], [3, -1, -1, -1, -1]])
    kinds = KINDS[0][lists]
    found = list_diversity(kinds, lists, top_k=[1, 2, 3, 5])
    assert found[0].tolist() == pytest.approx([0, 0, 1 / 3, 0.4])
    assert found[1].tolist() == pytest.approx([0, 1, 1, 1])
    assert found[2].tolist() == [0] * 4


def test_lists_end_where_candidates_do_and_ties_keep_their_order() -> None:
    scores = torch.tensor([[1.0, 1, 1, -torch.inf, -torch.inf]])
    assert rerank(scores, KINDS, factor=0.0, k=4).tolist() == [[0, 1, 2, -1]]
    assert rerank(scores, KINDS, factor=0.5, k=9).tolist() == [[0, 2, 1, -1, -1]]
    assert scores[0, 0] == 1  # what came in is as it was


def slow_list(scores: list[float], kinds: list[set[int]], factor: float, k: int) -> list[int]:
    chosen: list[int] = []
    while len(chosen) < k:
        gains = {
            i: scores[i]
            + factor * sum(bool(kinds[i] and kinds[j]) and not kinds[i] & kinds[j] for j in chosen)
            for i in range(len(scores))
            if i not in chosen
        }
        chosen.append(max(gains, key=lambda i: (gains[i], -i)))
    return chosen


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_queries_at_once_are_a_loop_over_them(data: st.DataObject) -> None:
    number = st.lists(st.integers(0, 6), min_size=5, max_size=5)
    kind = st.lists(st.sets(st.integers(0, 2), max_size=2), min_size=5, max_size=5)
    rows = [(data.draw(number), data.draw(kind)) for _ in range(3)]
    factor = data.draw(st.sampled_from([0.0, 0.5, 1.0, 4.0]))
    padded = [[sorted(s) + [NONE] * (2 - len(s)) for s in kinds] for _, kinds in rows]
    scores = torch.tensor([[float(x) for x in row] for row, _ in rows])
    found = rerank(scores, torch.tensor(padded), factor=factor, k=4)
    assert found.tolist() == [slow_list(list(map(float, s)), k, factor, 4) for s, k in rows]


def test_a_large_factor_reaches_the_most_different_list() -> None:
    """Of three places; and factor 0 the best scores."""
    scores = torch.tensor([[0.9, 0.8, 0.7, 0.6, 0.5]])
    spread = [
        float(list_diversity(KINDS[:, list(p)], torch.tensor([p]), top_k=[3]))
        for p in permutations(range(5), 3)
    ]
    places = rerank(scores, KINDS, factor=100.0, k=3)
    assert float(list_diversity(KINDS[:, places[0]], places, top_k=[3])) == max(spread)
    assert rerank(scores, KINDS, factor=0.0, k=3).tolist() == [[0, 1, 2]]


def flat(rows: slice) -> Tensor:
    """Scores of 20 items with many ties, the same for each of 12 queries."""
    return (torch.arange(20) % 3).float().repeat(len(range(*rows.indices(12))), 1)


def curve(data: MatchData, factors: list[float], *, n: int = 20) -> list[dict[str, float]]:
    return diversity_curve(
        flat,
        data,
        split="test",
        categories=item_categories(data, "genres"),
        factors=factors,
        num_candidates=n,
        top_k=[3, 10],
        mask_seen=True,
        candidates=data.candidates,
    )


def test_the_curve_starts_at_the_plain_ranking(
    tiny: MatchData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Factor 0 gives the figures of the ranking itself, ties against the model; blocks agree."""
    found = curve(tiny, [0.0, 5.0])
    plain, _ = rank_scorer(flat, tiny, split="test", top_k=[3, 10], mask_seen=True)
    for key in ("recall@3", "recall@10", "ndcg@3", "ndcg@10"):
        assert found[0][key] == pytest.approx(plain[key])
    assert found[1]["diversity@3"] > found[0]["diversity@3"]
    assert [row["factor"] for row in found] == [0, 5]
    monkeypatch.setattr("rechub_cli.evaluation.diversity.BLOCK_CELLS", 1)
    assert curve(tiny, [0.0, 5.0]) == found


def test_too_few_candidates_are_refused(tiny: MatchData) -> None:
    with pytest.raises(ConfigError, match=r"num_candidates=9 cannot fill a list of top_k=10"):
        curve(tiny, [0.0], n=9)


def test_categories_come_from_any_column_of_single_or_listed_values() -> None:
    raw = tiny_raw(items=20)
    assert raw.items is not None
    kinds = [["a", "b"], None, [], ["c"], ["b", "a", "d"]] + [["a"]] * 15
    table = raw.items.set_column(1, "genres", pa.array(kinds)).append_column(
        "shop", pa.array([None, 7, 7, 8] + [9] * 16)
    )
    data = prepare(
        type(raw)(raw.interactions, table, raw.users),
        split=SplitOptions(),
        features=FeatureOptions(exclude=("shop",)),
        embed_dim=4,
        seed=0,
    )
    found = item_categories(data, "genres")[:5]
    assert found.tolist() == [[0, 1, -1], [-1] * 3, [-1] * 3, [2, -1, -1], [1, 0, 3]]
    assert item_categories(data, "shop")[:5].squeeze(1).tolist() == [-1, 0, 0, 1, 2]
    with pytest.raises(ConfigError, match=r"'price' is no sparse.*'colour', 'genres', 'shop'"):
        item_categories(data, "price")
    with pytest.raises(ConfigError, match=r"Did you mean 'genres'"):
        item_categories(data, "genre")
    assert np.array_equal(item_categories(data, "colour")[:, 0], np.arange(20) % 4)
