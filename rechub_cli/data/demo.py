"""A made-up world with a known law, so that a run has a ceiling beside its floor.

U users, I items, T topics (genres). Each user owns two to four topics. An event stays in the
current topic or moves to another of the user's own; inside a topic it follows the topic's hidden
order from where the user left it, or is drawn by popularity, the user's own brand first; nothing
is taken twice. A brand is one taste in all topics, and topics come back after long gaps: what
windows over the last items cannot see, and features can.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from rechub_cli.data.interactions import Interactions, Ints
from rechub_cli.data.raw import ITEM, TIMESTAMP, USER, RawData
from rechub_cli.data.splits import Queries
from rechub_cli.evaluation.ranking import Scorer

NUM_TOPICS = 20
NUM_BRANDS = 8
LOYALTY = 2.5
"""How much a user's own brand multiplies an item's popularity, as exp(LOYALTY)."""
STAY = 0.4
"""Probability that the next event stays in the current topic."""
FOLLOW = 0.3
"""Probability that an event follows the topic's order, rather than popularity."""
STEPS = np.array([0.6, 0.25, 0.15])
"""Probability of the next, second and third item in the topic's order."""
MIN_EVENTS, MEAN_EVENTS, MAX_EVENTS = 8, 30, 80
COLD_SHARE = 0.06
"""Share of items that popularity all but never picks."""
START_TIME = 1_600_000_000

Floats = npt.NDArray[np.float64]


@dataclass
class _State:
    """Where users stand: topic int [U] (-1 before the first event), last item of each topic
    int [U, T] (-1 none), seen bool [U, I]."""

    topic: Ints
    last: Ints
    seen: npt.NDArray[np.bool_]

    @classmethod
    def fresh(cls, users: int, topics: int, items: int) -> _State:
        return cls(
            np.full(users, -1),
            np.full((users, topics), -1),
            np.zeros((users, items), dtype=np.bool_),
        )

    def advance(self, rows: Ints, items: Ints, topic_of: Ints) -> None:
        self.topic[rows] = topic_of[items]
        self.last[rows, topic_of[items]] = items
        self.seen[rows, items] = True


@dataclass(frozen=True)
class DemoWorld:
    """The law and the events drawn from it.

    topic_of, brand_of: int [I]. popularity: float [I]. brand: int [U], each user's own.
    follow: float [I, I], the order's next-item law.
    interest: float [U, T], a user's share of each topic, 0 where it is not the user's.
    item_names, user_names: the raw ids of the law's rows.
    """

    raw: RawData
    topic_of: Ints
    brand_of: Ints
    brand: Ints
    popularity: Floats
    follow: Floats
    interest: Floats
    item_names: list[str]

    def next_item(self, users: Ints, state: _State) -> Floats:
        """p(next item | everything the world knows), float [len(users), I]."""
        members = np.eye(self.interest.shape[1])[self.topic_of].T  # [T, I]
        interest = self.interest[users]
        started = state.topic >= 0
        chosen = np.where(started[:, None], (1 - STAY) * interest, interest)
        chosen[started, state.topic[started]] += STAY
        free = ~state.seen
        own = self.brand_of == self.brand[users, None]
        popular = self.popularity * np.where(own, np.exp(LOYALTY), 1) * free
        popular_mass = popular @ members.T  # [U, T]
        out = np.zeros(state.seen.shape)
        open_topics = popular_mass > 0
        chosen = np.where(open_topics, chosen, 0)
        chosen /= np.maximum(chosen.sum(1, keepdims=True), 1e-300)
        for topic in np.flatnonzero(chosen.any(axis=0)):
            rows = np.flatnonzero(chosen[:, topic])
            last = state.last[rows, topic]
            followed = np.where((last >= 0)[:, None], self.follow[last], 0) * free[rows]
            mass = followed.sum(1, keepdims=True)
            share = np.where(mass > 0, FOLLOW, 0)
            law = share * followed / np.where(mass > 0, mass, 1)
            inside = popular[rows] * members[topic]
            law += (1 - share) * inside / inside.sum(1, keepdims=True)
            out[rows] += chosen[rows, topic, None] * law
        return out

    def oracle(self, item_ids: list[str], interactions: Interactions, queries: Queries) -> Scorer:
        """Ranks by the world's own probabilities: the ceiling of every model.

        item_ids: raw ids of the catalogue rows. User rows are the world's own.
        """
        row_of = {name: row for row, name in enumerate(self.item_names)}
        law_row = np.array([row_of[name] for name in item_ids])

        def scores(rows: slice) -> Tensor:
            users, ends = queries.user[rows], queries.history_end[rows]
            starts = interactions.offsets[users]
            state = _State.fresh(len(users), self.interest.shape[1], len(self.topic_of))
            for step in range(int((ends - starts).max(initial=0))):
                active = np.flatnonzero(starts + step < ends)
                items = law_row[interactions.items[starts[active] + step]]
                state.advance(active, items, self.topic_of)
            return torch.from_numpy(self.next_item(users, state)[:, law_row])

        return scores


def make_demo(seed: int, num_users: int = 2000, num_items: int = 500) -> DemoWorld:
    """Draw a world and its events. The same seed and sizes give the same world."""
    rng = np.random.default_rng(seed)
    topics = min(NUM_TOPICS, max(num_items // 10, 2))
    topic_of = rng.permutation(np.arange(num_items) % topics)
    popularity = rng.permutation(1 / np.arange(1, num_items + 1) ** 0.6)
    cold = rng.random(num_items) < COLD_SHARE
    popularity[cold] *= 1e-3
    world = DemoWorld(
        RawData(pa.table({})),
        topic_of,
        rng.permutation(np.arange(num_items) % NUM_BRANDS),
        rng.integers(0, NUM_BRANDS, size=num_users),
        popularity,
        _orders(topic_of, cold, rng),
        _interests(num_users, topics, rng),
        [f"item-{row:04d}" for row in range(num_items)],
    )
    events = _draw_events(world, rng)
    raw = RawData(
        interactions=events,
        items=_item_table(world, rng),
        users=_user_table(world, rng),
        notes=("made-up data from a seed: not a benchmark of anything",),
        counts={"rows_read": events.num_rows, "rows": events.num_rows},
        timestamp_unit="s",
    )
    return replace(world, raw=raw)


def _orders(topic_of: Ints, cold: npt.NDArray[np.bool_], rng: np.random.Generator) -> Floats:
    """A hidden circular order of each topic's items; cold ones stand outside it."""
    follow = np.zeros((len(topic_of), len(topic_of)))
    for topic in range(int(topic_of.max()) + 1):
        circle = rng.permutation(np.flatnonzero((topic_of == topic) & ~cold))
        for step, weight in enumerate(STEPS, start=1):
            if len(circle) > step:
                follow[circle, np.roll(circle, -step)] += weight
    return follow


def _interests(users: int, topics: int, rng: np.random.Generator) -> Floats:
    shares = np.zeros((users, topics))
    taste = rng.dirichlet(np.full(topics, 5.0))
    owned = rng.integers(2, 5, size=users)
    for user in range(users):
        own = rng.choice(topics, size=min(owned[user], topics), replace=False, p=taste)
        shares[user, own] = rng.dirichlet(np.full(len(own), 4.0))
    return shares


def _draw_events(world: DemoWorld, rng: np.random.Generator) -> pa.Table:
    users = len(world.interest)
    state = _State.fresh(users, world.interest.shape[1], len(world.topic_of))
    extra = rng.geometric(1 / (MEAN_EVENTS - MIN_EVENTS), size=users)
    lengths = np.minimum(MIN_EVENTS + extra, MAX_EVENTS)
    clock = START_TIME + rng.integers(0, 90 * 86_400, size=users)
    columns: list[tuple[Ints, Ints, Ints]] = []
    for step in range(int(lengths.max())):
        active = np.flatnonzero(lengths > step)
        part = _State(state.topic[active], state.last[active], state.seen[active])
        law = world.next_item(active, part)
        going = law.sum(1) > 0
        active, law = active[going], law[going]
        steps = law.cumsum(1)
        at = rng.random(len(active)) * steps[:, -1]
        items = (steps < at[:, None]).sum(1)
        state.advance(active, items, world.topic_of)
        clock[active] += rng.integers(30, 86_400, size=len(active))
        columns.append((active, items, clock[active].copy()))
    user, item, time = (np.concatenate(c) for c in zip(*columns, strict=True))
    order = np.lexsort((user, time))
    names = pa.array(world.item_names)
    return pa.table(
        {
            USER: pa.array(user[order] + 1),
            ITEM: names.take(pa.array(item[order])),
            TIMESTAMP: pa.array(time[order]),
        }
    )


def _item_table(world: DemoWorld, rng: np.random.Generator) -> pa.Table:
    topics = world.interest.shape[1]
    second = rng.integers(0, topics, size=len(world.topic_of))
    both = rng.random(len(world.topic_of)) < 0.3
    genres = [
        [f"genre-{a:02d}"] + ([f"genre-{b:02d}"] if two and a != b else [])
        for a, b, two in zip(world.topic_of, second, both, strict=True)
    ]
    price = np.exp(rng.normal(2.5, 0.5, size=len(genres))).round(2)
    brands = [f"brand-{brand}" for brand in world.brand_of]
    return pa.table({ITEM: world.item_names, "genres": genres, "brand": brands, "price": price})


def _user_table(world: DemoWorld, rng: np.random.Generator) -> pa.Table:
    users = len(world.interest)
    hint = np.where(
        rng.random(users) < 0.25, world.interest.argmax(1), rng.integers(0, 1000, users)
    )
    age = rng.normal(38, 12, size=users).clip(16, 80).round()
    missing = rng.random(users) < 0.1
    return pa.table(
        {
            USER: np.arange(1, users + 1),
            "segment": pa.array([f"segment-{h % 8}" for h in hint]),
            "age": pa.array(age, mask=missing),
        }
    )
