"""The made-up world: its law by hand, its tables, and how far apart floor and ceiling are."""

from __future__ import annotations

from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from rechub_cli.data.dataset import SplitOptions, prepare
from rechub_cli.data.demo import NEVER, NUM_INTERESTS, DemoWorld, Law, make_demo
from rechub_cli.data.feature_options import FeatureOptions
from rechub_cli.data.raw import ITEM, TIMESTAMP, USER
from rechub_cli.evaluation.compare import baseline_metrics, rank_scorer

# Topic 0 holds items 0, 1, 2 (in this order), topic 1 items 3, 4; the user has both.
LAW = Law(
    topic_of=np.array([0, 0, 0, 1, 1]),
    place=np.array([0, 1, 2, 0, 1]),
    popularity=np.array([1.0, 1.0, 2.0, 1.0, 3.0]),
    own=np.array([[0, 1]]),
    interest=np.array([[0.75, 0.25]]),
)


@cache
def world(seed: int = 1) -> DemoWorld:
    return make_demo(seed)


def next_item(*history: int) -> list[float]:
    small = DemoWorld(world().raw, LAW, [f"item-{row}" for row in range(5)])
    out: list[float] = small.oracle_scores(np.array([0]), [np.array(history, dtype=int)])[0]
    return out


def test_the_law_without_a_history_is_interest_times_popularity() -> None:
    expected = [0.75 / 4, 0.75 / 4, 0.75 / 2, 0.25 / 4, 0.75 / 4]
    assert next_item() == pytest.approx(expected)


def test_a_served_topic_rests_and_its_order_counts() -> None:
    # Item 0 rests topic 0 (.05 of .75); item 1 is one step on (1.4), item 2 two (1.2 of 2.0).
    first = 0.0375 / (0.0375 + 0.25)
    expected = [0, first * 1.4 / 3.8, first * 2.4 / 3.8, (1 - first) / 4, (1 - first) * 3 / 4]
    assert next_item(0) == pytest.approx(expected)


def test_rest_counts_events_since_the_topic_was_served() -> None:
    # Topic 0 two events ago (.3), topic 1 just now (.05); of topic 1 item 4 is left.
    first = 0.75 * 0.3 / (0.75 * 0.3 + 0.25 * 0.05)
    assert next_item(0, 3) == pytest.approx([0, first * 1.4 / 3.8, first * 2.4 / 3.8, 0, 1 - first])


def test_a_finished_topic_is_never_next() -> None:
    assert next_item(3, 4)[3:] == pytest.approx([0, 0])
    assert sum(next_item(3, 4)) == pytest.approx(1)
    assert next_item(0, 1, 2, 3, 4) == pytest.approx([0] * 5)


def test_blocks_of_histories_do_not_meet() -> None:
    law = world().law
    histories = [np.arange(length) * 7 % 500 for length in (0, 1, 9)]
    together = world().oracle_scores(np.array([5, 6, 7]), histories)
    for row, history in enumerate(histories):
        alone = world().oracle_scores(np.array([5 + row]), [history])
        np.testing.assert_allclose(together[row], alone[0])
    assert law.fresh_state(2).served.tolist() == [[NEVER] * len(law.topic_starts)] * 2


def test_the_same_seed_gives_the_same_world_and_another_another() -> None:
    again, other = make_demo(1).raw, make_demo(2).raw
    mine = world().raw
    assert mine.interactions.equals(again.interactions)
    assert mine.items is not None
    assert mine.users is not None
    assert mine.items.equals(again.items)
    assert mine.users.equals(again.users)
    assert not mine.interactions.equals(other.interactions)


def test_the_tables_have_what_the_features_are_made_of() -> None:
    raw = world().raw
    assert raw.items is not None
    assert raw.users is not None
    assert raw.interactions.schema.types == [pa.int64(), pa.string(), pa.int64()]
    assert raw.items.schema.field("genres").type == pa.list_(pa.string())
    assert raw.items.schema.field("price").type == pa.float64()
    assert raw.users["age"].null_count > 0
    assert set(pc.list_value_length(raw.items["genres"]).to_pylist()) == {1, 2}
    assert 50_000 <= raw.interactions.num_rows <= 60_000


def test_nobody_takes_an_item_twice_or_two_at_once() -> None:
    events = world().raw.interactions
    for column in (ITEM, TIMESTAMP):
        pairs = events.group_by([USER, column]).aggregate([])
        assert pairs.num_rows == events.num_rows


def test_users_have_four_interests_and_some_items_are_cold() -> None:
    law, events = world().law, world().raw.interactions
    topic = dict(zip(world().item_names, law.topic_of, strict=True))
    user = events[USER].to_numpy() - 1
    taken = np.array([topic[name] for name in events[ITEM].to_pylist()])
    assert (law.own[user] == taken[:, None]).any(axis=1).all()
    assert law.own.shape == (2000, NUM_INTERESTS)
    counts = events.group_by(ITEM).aggregate([(ITEM, "count")])[f"{ITEM}_count"].to_numpy()
    untouched = 500 - len(counts)
    assert 3 <= untouched + int((counts < 5).sum()) <= 30


def test_small_worlds_and_many_items_work() -> None:
    assert make_demo(0, 50, 40).raw.interactions.num_rows > 50 * 15
    assert make_demo(0, 60, 3000).raw.interactions.num_rows > 60 * 20


def test_floor_reference_and_ceiling_stand_far_apart() -> None:
    data = prepare(
        world().raw, split=SplitOptions(), features=FeatureOptions(), embed_dim=8, seed=0
    )
    baselines = baseline_metrics(data, top_k=[10], mask_seen=True, splits=["test"])
    floor, rules = (baselines[n]["test"]["ndcg@10"] for n in ("popularity", "sequential_rules"))
    scorer = world().oracle(data.catalogue.ids.to_pylist(), data.interactions, data.split.test)
    oracle = rank_scorer(scorer, data, split="test", top_k=[10], mask_seen=True)[0]["ndcg@10"]
    assert floor < 0.05
    assert 0.15 < rules < 0.3
    assert 0.65 < oracle < 0.75


def test_the_oracle_is_the_law_that_the_events_were_drawn_from() -> None:
    """Mean log p of the real next items is that of items drawn from p itself, the entropy."""
    data = prepare(
        world().raw, split=SplitOptions(), features=FeatureOptions(), embed_dim=8, seed=0
    )
    scorer = world().oracle(data.catalogue.ids.to_pylist(), data.interactions, data.split.test)
    chances = scorer(slice(0, 2000)).numpy()
    targets = data.interactions.items[data.split.test.history_end]
    found = -np.log(chances[np.arange(len(targets)), targets]).mean()
    entropy = -(chances * np.log(np.where(chances > 0, chances, 1))).sum(axis=1).mean()
    assert found == pytest.approx(entropy, abs=0.1)
