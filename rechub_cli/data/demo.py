"""A made-up world with a known law, so that a run has a ceiling beside its floor.

A user has four interests out of many small topics, and seeks variety:

    p(topic) ~ the user's interest in it x how well it has rested x min(popularity left in it, 1)
    p(item | topic) ~ popularity x order, over the topic's items that the user has not taken

A topic just served rests, so the last items tell what does not come next: windows over them miss
what a set of interests shows. Order: the items after the last one taken in a topic are likelier.
U users, I items in the order of their topics, T topics, N topics of a user, b rows of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from rechub_cli.data.interactions import Interactions, Ints
from rechub_cli.data.raw import ITEM, TIMESTAMP, USER, RawData
from rechub_cli.data.splits import Queries

ITEMS_PER_TOPIC = 9
NUM_INTERESTS = 4
REST = np.array([0.05, 0.3, 0.7, 1.0])
"""Appetite for a topic that was served 1, 2, 3 and more events ago."""
ORDER = np.array([1.0, 1.4, 1.2, 1.0])
"""Weight of an item 0, 1, 2 and more steps after the last one taken in its topic."""
HEAD, TAIL, COLD = 1.0, 0.05, 1e-6
"""Least popularity of an item of the head, of the tail, of those that hardly anybody takes."""
TAIL_SHARE, COLD_SHARE, POPULARITY_EXPONENT = 0.3, 0.02, 0.1
TASTE, EVENNESS = 4.0, 20.0
"""Dirichlet parameters: how alike topics are in users, and a user's interests in strength."""
MIN_EVENTS, MEAN_EVENTS = 22, 34
MOST_TAKEN = 0.9
"""Share of their topics' items, cold ones apart, after which users stop."""
START_TIME, DAY = 1_600_000_000, 86_400
BLOCK_CELLS = 1 << 20  # of [b, I], worked on at once
SEGMENTS, NEVER = 8, -(10**6)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class State:
    """What b histories leave behind.

    last: int64 [b, T], the last item of each topic, -1 where none. served: int64 [b, T], the
    number of the event that took it, NEVER where none. seen: bool [b, I].
    """

    last: Ints
    served: Ints
    seen: npt.NDArray[np.bool_]

    def take(self, rows: Ints, items: Ints, topics: Ints, event: int) -> None:
        self.last[rows, topics], self.served[rows, topics] = items, event
        self.seen[rows, items] = True


@dataclass(frozen=True)
class Law:
    """topic_of: int64 [I], ascending. place: int64 [I], an item's place in its topic's order.
    popularity: float64 [I]. own: int64 [U, N], each user's topics. interest: float64 [U, N], how
    strong each is."""

    topic_of: Ints
    place: Ints
    popularity: Floats
    own: Ints
    interest: Floats

    @property
    def topic_starts(self) -> Ints:
        """The first item of each topic, int64 [T]."""
        return np.flatnonzero(np.diff(self.topic_of, prepend=-1))

    def fresh_state(self, num_rows: int) -> State:
        topics = (num_rows, len(self.topic_starts))
        seen = np.zeros((num_rows, len(self.topic_of)), dtype=np.bool_)
        return State(np.full(topics, -1), np.full(topics, NEVER), seen)

    def blocks(self, num_rows: int) -> Iterator[slice]:
        size = max(1, BLOCK_CELLS // len(self.topic_of))
        yield from (slice(a, min(a + size, num_rows)) for a in range(0, num_rows, size))

    def next_item(self, users: Ints, state: State, event: int | Ints) -> Floats:
        """p(next item | user, history), float64 [b, I]; zeros where nothing is left to take.

        event: how many events each history has, one number or int64 [b].
        """
        starts, topic_of = self.topic_starts, self.topic_of
        left = np.where(state.seen, 0, self.popularity)  # [b, I]
        gap = np.reshape(event, (-1, 1)) - state.served  # [b, T]
        appetite = np.zeros(gap.shape)
        np.put_along_axis(appetite, self.own[users], self.interest[users], axis=1)
        appetite *= REST[np.minimum(gap, len(REST)) - 1]
        appetite *= np.minimum(np.add.reduceat(left, starts, axis=1), 1)
        last = state.last[:, topic_of]  # [b, I]
        size = np.bincount(topic_of)[topic_of]
        steps = np.minimum((self.place - self.place[last]) % size, len(ORDER) - 1)
        inside = left * np.where(last >= 0, ORDER[steps], 1.0)
        whole = np.add.reduceat(inside, starts, axis=1)[:, topic_of]
        share = _ratio(appetite, appetite.sum(1, keepdims=True))[:, topic_of]
        return share * _ratio(inside, whole)


@dataclass(frozen=True)
class DemoWorld:
    """The events of a world, and the law that they were drawn from.

    item_names: raw ids of the law's items, [I]. The law's user u has the raw id u + 1.
    """

    raw: RawData
    law: Law
    item_names: list[str]

    def oracle_scores(self, users: Ints, histories: list[Ints]) -> Floats:
        """p(next item) from everything the world knows, float64 [b, I].

        users: int64 [b]. histories: the law's items that each has taken, the oldest first.
        """
        out = np.empty((len(users), len(self.item_names)))
        for rows in self.law.blocks(len(users)):
            block = histories[rows]
            state, lengths = self.law.fresh_state(len(block)), np.array([len(h) for h in block])
            for event in range(int(lengths.max(initial=0))):
                taking = np.flatnonzero(lengths > event)
                items = np.array([block[row][event] for row in taking])
                state.take(taking, items, self.law.topic_of[items], event)
            out[rows] = self.law.next_item(users[rows], state, lengths)
        return out

    def oracle(
        self, item_ids: list[str], interactions: Interactions, queries: Queries
    ) -> Callable[[slice], Tensor]:
        """Ranks by the world's own probabilities: the ceiling of every model; a Scorer.

        item_ids: raw ids of the catalogue rows. interactions: of all the world's users, by id.
        """
        law_item = pc.index_in(pa.array(item_ids), pa.array(self.item_names)).to_numpy()
        events = law_item[interactions.items]

        def scores(rows: slice) -> Tensor:
            users = queries.user[rows]
            spans = zip(interactions.offsets[users], queries.history_end[rows], strict=True)
            histories = [events[start:end] for start, end in spans]
            return torch.from_numpy(self.oracle_scores(users, histories)[:, law_item])

        return scores


def make_demo(seed: int, num_users: int = 2000, num_items: int = 500) -> DemoWorld:
    """Draw a world and its events; the same seed and sizes give the same world.

    num_users: >= 1. num_items: >= 40, so that everybody has several topics and enough to take.
    """
    rng = np.random.default_rng(seed)
    law = _draw_law(rng, num_users, num_items)
    names = [f"item-{number:04d}" for number in rng.permutation(num_items)]
    user, item, time = _draw_events(law, rng)
    raw = RawData(
        events=pa.table({USER: user + 1, ITEM: pa.array(names).take(item), TIMESTAMP: time}),
        items=_item_table(law, names, rng),
        users=_user_table(law, rng),
        notes=("made-up data from a seed: not a benchmark of anything",),
        counts={"rows_read": len(user), "rows": len(user)},
        timestamp_unit="s",
    )
    return DemoWorld(raw, law, names)


def _draw_law(rng: np.random.Generator, num_users: int, num_items: int) -> Law:
    topics = max(num_items // ITEMS_PER_TOPIC, 1)
    topic_of = np.sort(np.arange(num_items) % topics)
    # Sorting random numbers within each topic gives a random order of its items.
    place = np.empty(num_items, dtype=np.int64)
    place[np.lexsort((rng.random(num_items), topic_of))] = np.arange(num_items)
    kind = rng.random(num_items)
    level = np.select([kind < COLD_SHARE, kind < COLD_SHARE + TAIL_SHARE], [COLD, TAIL], HEAD)
    popularity = level * ((1 + rng.permutation(num_items)) / num_items) ** -POPULARITY_EXPONENT
    taste, count = rng.dirichlet(np.full(topics, TASTE)), min(NUM_INTERESTS, topics)
    own = np.stack([rng.choice(topics, count, replace=False, p=taste) for _ in range(num_users)])
    interest = rng.dirichlet(np.full(count, EVENNESS), size=num_users)
    return Law(topic_of, place, popularity, own, interest)


def _draw_events(law: Law, rng: np.random.Generator) -> tuple[Ints, Ints, Ints]:
    """Users, items and times of all events, in the order of time."""
    num_users = len(law.own)
    sizes = np.bincount(law.topic_of, weights=law.popularity >= TAIL)
    most = (MOST_TAKEN * sizes[law.own].sum(1)).astype(np.int64)
    extra = rng.geometric(1 / (MEAN_EVENTS - MIN_EVENTS), size=num_users)
    lengths = np.minimum(MIN_EVENTS + extra, most)
    clock = START_TIME + rng.integers(0, 90 * DAY, size=num_users)
    parts: list[tuple[Ints, Ints, Ints]] = []
    for block in law.blocks(num_users):
        state = law.fresh_state(block.stop - block.start)
        for event in range(int(lengths[block].max())):
            rows = np.flatnonzero(lengths[block] > event)
            part = State(state.last[rows], state.served[rows], state.seen[rows])
            users = rows + block.start
            chances = law.next_item(users, part, event).cumsum(1)
            draw = rng.random((len(rows), 1)) * chances[:, -1:]
            items = (chances <= draw).sum(1)
            state.take(rows, items, law.topic_of[items], event)
            clock[users] += rng.integers(30, DAY, size=len(users))
            parts.append((users, items, clock[users]))
    user, item, time = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((user, time))
    return user[order], item[order], time[order]


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _item_table(law: Law, names: list[str], rng: np.random.Generator) -> pa.Table:
    """genres: the topic's, and for some items one more. price: says nothing."""
    other = rng.integers(0, len(law.topic_starts), size=len(names))
    more = (rng.random(len(names)) < 0.3) & (other != law.topic_of)
    genres = [
        [f"genre-{first:02d}", f"genre-{second:02d}"] if both else [f"genre-{first:02d}"]
        for first, second, both in zip(law.topic_of, other, more, strict=True)
    ]
    price = np.exp(rng.normal(2.5, 0.5, size=len(names)))
    return pa.table({ITEM: names, "genres": genres, "price": price.round(2)})


def _user_table(law: Law, rng: np.random.Generator) -> pa.Table:
    """segment: for one user in four the strongest interest's, else noise. age: some missing."""
    num_users = len(law.own)
    segment = law.own[np.arange(num_users), law.interest.argmax(1)]
    noise = rng.random(num_users) < 0.75
    segment = np.where(noise, rng.integers(0, 1000, num_users), segment) % SEGMENTS
    age = rng.normal(38, 12, size=num_users).clip(16, 80).round()
    return pa.table(
        {
            USER: np.arange(1, num_users + 1),
            "segment": [f"segment-{number}" for number in segment],
            "age": pa.array(age, mask=rng.random(num_users) < 0.1),
        }
    )
