"""Which public file a user has: counts and a hash that do not depend on the file's form."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from rechub_cli.data.assemble import Events
from rechub_cli.data.order import stable_order
from rechub_cli.data.raw import Identity


@dataclass(frozen=True)
class Variant:
    """Another preprocessing of the same source, told by its counts."""

    title: str
    users: int
    items: int


@dataclass(frozen=True)
class PublishedSet:
    """The interactions that published figures were measured on.

    sha256: ``canonical_hash``; any_order_sha256: the same with each user's items in ascending
    order. variants: other preprocessings that go by the same name.
    """

    title: str
    users: int
    items: int
    events: int
    sha256: str
    any_order_sha256: str
    variants: tuple[Variant, ...] = ()


def canonical_hash(events: Events, *, any_order: bool = False) -> str:
    """SHA-256 of the events as text, one ``user item`` line each, whatever form they came in.

    Users stand in ascending order (integers by value), each user's events in reading order, or
    with ``any_order`` in ascending order of items.
    """
    users, items = _rank(events.user.values), _rank(events.item.values)
    keys = [users[events.user.codes]]
    if any_order:
        keys.append(items[events.item.codes])
    order = stable_order(*keys)
    ends = pc.binary_join_element_wise(events.item.values.cast(pa.string()), "\n", "")
    lines = pc.binary_join_element_wise(
        events.user.values.cast(pa.string()).take(pa.array(events.user.codes[order])),
        ends.take(pa.array(events.item.codes[order])),
        " ",
    )
    return hashlib.sha256(lines.buffers()[2]).hexdigest()


def identify(events: Events, published: PublishedSet) -> tuple[Identity, list[str]]:
    """Name what was read; where it is not the published set, a note says what differs."""
    sha256 = canonical_hash(events)
    if sha256 == published.sha256:
        return Identity(published.title, sha256, published=True), []
    counts = len(events.user.values), len(events.item.values), len(events.user.codes)
    why = _difference(events, counts, published)
    note = (
        f"not {published.title}: expected {_sizes(published.users, published.items)} and "
        f"{published.events:,} events, found {_sizes(*counts[:2])} and {counts[2]:,} events: "
        f"{why}; published figures do not apply"
    )
    return Identity(why, sha256, published=False), [note]


def _difference(events: Events, counts: tuple[int, int, int], published: PublishedSet) -> str:
    for variant in published.variants:
        if counts[:2] == (variant.users, variant.items):
            return f"the counts are those of {variant.title}"
    if canonical_hash(events, any_order=True) == published.any_order_sha256:
        return "the same events, ordered otherwise within users"
    if counts == (published.users, published.items, published.events):
        return "the same counts, but other ids or other events"
    return "an unknown preprocessing"


def _sizes(users: int, items: int) -> str:
    return f"{users:,} users x {items:,} items"


def _rank(values: pa.Array) -> npt.NDArray[np.int64]:
    """The place of each distinct id in ascending order."""
    rank = np.empty(len(values), dtype=np.int64)
    rank[pc.sort_indices(values).to_numpy()] = np.arange(len(values))
    return rank
