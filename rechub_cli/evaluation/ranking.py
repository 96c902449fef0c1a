"""Exact ranking over the whole catalogue, in blocks of bounded memory.

b queries of a block, Q queries, T distinct targets of all queries, I items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rechub_cli.data.interactions import Interactions, Ints
from rechub_cli.data.splits import Queries
from rechub_cli.errors import GateError

Scorer = Callable[[slice], Tensor]
"""Scores of the queries of a slice against every catalogue row: float [b, I], a tensor that the
ranking may change."""

MISS = np.iinfo(np.int64).max
"""The rank of a target that is no candidate."""
CACHED_BYTES, MOST_BYTES, MANY_ROWS = 16 << 20, 256 << 20, 128
"""A block's scores stay in a CPU's cache where the catalogue is small; where it is large, a block
has rows enough for the matrix kernels to read the items rarely, up to so many bytes."""
GROUP = 16
"""A list is sought in the groups of so many items whose best are the best ones; see _top_items."""


@dataclass(frozen=True)
class Ranking:
    """ranks: int64 [T], 1-based, query by query. target_offsets: int64 [Q + 1]; targets: int64
    [T] catalogue rows. top_items: int64 [Q, k], the best first (equal ones in any order), -1
    where a list ends early."""

    ranks: Ints
    target_offsets: Ints
    targets: Ints
    top_items: Ints


def rank_queries(
    scorer: Scorer,
    *,
    interactions: Interactions,
    queries: Queries,
    candidates: Tensor,
    mask_seen: bool,
    top_k: Sequence[int],
    size: int | None = None,
) -> Ranking:
    """Rank every query's distinct targets among all candidates.

    A target's rank is 1 + the candidates, not targets themselves, that score at least as much
    (ties count against the model) + the query's targets before it. candidates: bool [I].
    mask_seen: leave out the items of the query's history; a target is never left out.
    top_k: cut-offs; top_items keeps the largest. size: queries at once;
    None: see block_rows. Raises GateError on a score that is NaN.
    """
    targets, offsets = distinct_targets(interactions, queries)
    width = min(max(top_k), interactions.num_items)
    ranks = np.full(len(targets), MISS, dtype=np.int64)
    top = np.full((len(queries), width), -1, dtype=np.int64)
    for rows, hidden, owner in score_blocks(
        scorer,
        targets=targets,
        offsets=offsets,
        interactions=interactions,
        queries=queries,
        candidates=candidates,
        mask_seen=mask_seen,
        size=size or block_rows(interactions.num_items),
    ):
        part = slice(offsets[rows.start], offsets[rows.stop])
        block_offsets = offsets[rows.start : rows.stop + 1] - part.start
        top[rows] = _top_items(hidden, width)
        ranks[part] = _ranks(hidden, owner, targets[part], candidates, block_offsets)
    return Ranking(ranks, offsets, targets, top)


def block_rows(num_items: int) -> int:
    """How many queries are ranked at once."""
    row = 4 * num_items
    return max(1, CACHED_BYTES // row, min(MANY_ROWS, MOST_BYTES // row))


def score_blocks(
    scorer: Scorer,
    *,
    targets: Ints,
    offsets: Ints,
    interactions: Interactions,
    queries: Queries,
    candidates: Tensor,
    mask_seen: bool,
    size: int,
) -> Iterator[tuple[slice, Tensor, Ints]]:
    """Scores of ``size`` queries at a time, with -inf where nothing may be recommended.

    targets, offsets: as distinct_targets gives them. Yields the queries' slice, their scores
    float [b, I], and the row in the block of each of their targets, int64 [t]. The other
    arguments and errors are those of rank_queries.
    """
    left_out = (~candidates).nonzero().flatten()
    for first in range(0, len(queries), size):
        rows = slice(first, min(first + size, len(queries)))
        scores = scorer(rows)
        _check(scores, rows, queries)
        part = slice(offsets[rows.start], offsets[rows.stop])
        owner = np.repeat(
            np.arange(rows.stop - rows.start), np.diff(offsets[rows.start : rows.stop + 1])
        )
        index = (torch.from_numpy(owner), torch.from_numpy(targets[part]))
        kept = scores[index].masked_fill(~candidates[index[1]], -torch.inf)
        scores.index_fill_(1, left_out, -torch.inf)
        if mask_seen:
            _hide_seen(scores, rows, interactions, queries)
        scores[index] = kept
        yield rows, scores, owner


def distinct_targets(interactions: Interactions, queries: Queries) -> tuple[Ints, Ints]:
    """Each query's targets without repeats, first occurrence first: ([T], offsets [Q + 1])."""
    counts = queries.target_end - queries.history_end
    owner, events = ragged(queries.history_end, counts)
    items = interactions.items[events].astype(np.int64)
    _, first = np.unique(owner * interactions.num_items + items, return_index=True)
    first = np.sort(first)
    sizes = np.bincount(owner[first], minlength=len(queries))
    return items[first], np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def ragged(start: Ints, count: Ints) -> tuple[Ints, Ints]:
    """Rows and positions of the ranges ``start[i] : start[i] + count[i]``, one after another."""
    owner = np.repeat(np.arange(len(start)), count)
    begin = np.repeat(np.cumsum(count) - count, count)
    return owner, np.repeat(start, count) + np.arange(len(owner)) - begin


def _check(scores: Tensor, rows: slice, queries: Queries) -> None:
    broken = scores.amax(dim=1).isnan()  # NaN where any score is
    if bool(broken.any()):
        query = rows.start + int(broken.nonzero()[0])
        raise GateError(
            f"a score of {queries.name} query {query} (user row {queries.user[query]}) is NaN: "
            "the model is broken; train again with a lower optimizer_params.lr"
        )


def _hide_seen(scores: Tensor, rows: slice, interactions: Interactions, queries: Queries) -> None:
    """Put -inf into the block's scores of the items of each query's history."""
    start = interactions.offsets[queries.user[rows]]
    owner, events = ragged(start, queries.history_end[rows] - start)
    seen = interactions.items[events].astype(np.int64)
    scores[torch.from_numpy(owner), torch.from_numpy(seen)] = -torch.inf


def _top_items(hidden: Tensor, width: int) -> Ints:
    """The ``width`` best items of each row, -1 where there are no more.

    Of a large catalogue, columns j, j + n, j + 2n ... are a group. The best k items stand in the k
    groups with the best maxima (or equal ones do), and a maximum of columns is far cheaper than
    topk of all of them.
    """
    count = hidden.shape[1] // GROUP
    if count < GROUP * width:
        values, items = hidden.topk(min(width, hidden.shape[1]), dim=1)
    else:
        best = hidden[:, : GROUP * count].view(-1, GROUP, count).amax(dim=1)
        groups = best.topk(width, dim=1, sorted=False).indices
        columns = (groups.unsqueeze(1) + count * torch.arange(GROUP).unsqueeze(1)).flatten(1)
        rest = torch.arange(GROUP * count, hidden.shape[1]).expand(len(hidden), -1)
        columns = torch.cat([columns, rest], dim=1)
        values, place = hidden.gather(1, columns).topk(width, dim=1)
        items = columns.gather(1, place)
    return np.asarray(items.masked_fill(values == -torch.inf, -1).numpy())


def _ranks(
    hidden: Tensor,
    owner: Ints,
    targets: Ints,
    candidates: Tensor,
    offsets: Ints,
) -> Ints:
    """Ranks of a block's targets; ``hidden`` is used up."""
    rows, columns = torch.from_numpy(owner), torch.from_numpy(targets)
    mine = hidden[rows, columns]
    hidden[rows, columns] = -torch.inf
    most = int(np.diff(offsets).max(initial=0))
    if most <= 1:
        others = hidden[rows] if len(rows) < len(hidden) else hidden
        # numpy counts bits as they are; torch widens each to a number first, and compares slower.
        ahead = np.count_nonzero(others.numpy() >= mine.unsqueeze(1).numpy(), axis=1)
    else:
        ordered = hidden.sort(dim=1).values
        below = torch.searchsorted(ordered[rows], mine.unsqueeze(1)).squeeze(1)
        ahead = hidden.shape[1] - below.numpy()
    ranks = 1 + ahead + _targets_ahead(mine.numpy(), owner)
    return np.where(candidates[columns].numpy(), ranks, MISS)


def _targets_ahead(scores: npt.NDArray[np.float32], owner: Ints) -> Ints:
    """How many of the same query's targets score more (equal ones: those that stand before)."""
    order = np.lexsort((np.arange(len(owner)), -scores, owner))
    start = np.searchsorted(owner, owner)
    place = np.empty(len(owner), dtype=np.int64)
    place[order] = np.arange(len(owner))
    return place - start
