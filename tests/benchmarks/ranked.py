"""Random vectors to rank: the same work for ours and for what it is held against."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rechub_cli.data.dataset import MatchData
from rechub_cli.data.splits import Queries
from rechub_cli.evaluation.ranking import Ranking, rank_queries
from tests.benchmarks.synthetic import bare


@dataclass(frozen=True)
class Ranked:
    """users: [U, D], one a query. items: [I, D]."""

    data: MatchData
    queries: Queries
    users: Tensor
    items: Tensor

    @classmethod
    def random(cls, *, num_items: int, users: int, width: int) -> Ranked:
        data = bare(num_items)
        test = data.split.test
        queries = replace(
            test,
            user=test.user[:users],
            history_end=test.history_end[:users],
            target_end=test.target_end[:users],
        )
        generator = torch.Generator().manual_seed(0)
        drawn = torch.randn(users + len(data.catalogue), width, generator=generator)
        return cls(data, queries, *drawn.split([users, len(data.catalogue)]))

    def rank(self, top: int) -> Ranking:
        """By ``rechub``'s own ranking of all items, untrained ones too, seen ones left out."""
        return rank_queries(
            lambda rows: self.users[rows] @ self.items.T,
            interactions=self.data.interactions,
            queries=self.queries,
            candidates=torch.ones(len(self.items), dtype=torch.bool),
            mask_seen=True,
            top_k=(top,),
        )
