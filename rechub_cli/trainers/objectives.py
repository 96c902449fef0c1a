"""From a batch of a catalogue's events to a loss: what is compared with what.

Q rows, N negatives, C candidates, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from rechub_cli.data.batches import ITEM_STEP, TrainBatch, replace_by_oov
from rechub_cli.data.distinct import distinct
from rechub_cli.features import SparseFeature
from rechub_cli.layers.rows import in_steps, rows_at, values_at
from rechub_cli.models.matching.base import MatchingModel, best_products
from rechub_cli.trainers.full_softmax import Excluded, full_softmax
from rechub_cli.trainers.losses import PairLoss, corrected, logq_scores
from rechub_cli.trainers.negatives import KnownPairs, NegativeSampler, UserItems, hardest
from rechub_cli.trainers.own_products import FEW_NUMBERS, own_products
from rechub_cli.trainers.towers import Towers


class ItemTable:
    """The item tower's inputs of any catalogue rows; a share of the ids is OOV in training.

    tensors: feature name -> [I + 1, ...]. oov_share: share of ids replaced, in 0..1.
    device: of the model; batches and draws come from the CPU.
    """

    def __init__(
        self,
        model: MatchingModel,
        tensors: Mapping[str, Tensor],
        *,
        oov_share: float,
        device: torch.device,
    ) -> None:
        self.device = device
        self.tensors = {name: t.to(device) for name, t in tensors.items()}
        self.oov_share = oov_share
        self.sparse = [f.name for f in model.schema.item_features if isinstance(f, SparseFeature)]
        # An item that is nothing but its id has no meaning as an unknown one.
        self.replace = len(model.schema.item_features) > 1

    def __call__(self, rows: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        rows = rows.to(self.device)
        features = {name: values_at(t, rows) for name, t in self.tensors.items()}
        if self.replace:
            for name in self.sparse:
                ids = features[name]
                features[name] = replace_by_oov(ids, self.oov_share, generator)
        return features


def user_vectors(towers: Towers, batch: TrainBatch) -> Tensor:
    """The user side of every target: [Q, D], or [Q, K, D]."""
    if batch.position is None:
        return towers.users(batch.features)
    return towers.positions(batch.features).flatten(0, 1)[batch.position]


class Objective(Protocol):
    def __call__(self, batch: TrainBatch, generator: torch.Generator) -> Tensor: ...


@dataclass
class FullSoftmax:
    """Softmax over every trained item.

    items: the catalogue rows that are candidates, int64 [C], ascending, of ``num_items``. taken: a
    user's items that are none for a row; None leaves them in.
    """

    towers: Towers
    table: ItemTable
    items: Tensor
    num_items: int
    taken: UserItems | None

    def __call__(self, batch: TrainBatch, generator: torch.Generator) -> Tensor:
        model = self.towers.model
        vectors = self.towers.items(self.table(self.items, generator))  # [C, D]
        device = self.table.device
        excluded = None
        if self.taken is not None:
            excluded = Excluded(*self.taken.ranges(batch), self.columns).to(device)
        target, batch = values_at(self.column_of, batch.target).to(device), batch.to(device)
        users = user_vectors(self.towers, batch)
        queries = model.queries(users, rows_at(vectors, target))
        return full_softmax(
            queries,
            vectors,
            target,
            temperature=model.temperature,
            excluded=excluded,
            weight=batch.weight,
        )

    @cached_property
    def column_of(self) -> Tensor:
        """Where each catalogue row stands among the candidates, int64; -1 for no candidate."""
        column_of = torch.full((self.num_items,), -1)
        column_of[self.items] = torch.arange(len(self.items))
        return column_of

    @cached_property
    def columns(self) -> Tensor:
        """The candidate of each of ``taken``'s items, int64, on the model's device."""
        assert self.taken is not None
        return self.column_of[self.taken.items].to(self.table.device)


@dataclass
class DrawnSoftmax:
    """Softmax over negatives that the batch shares, whose distinct items are scored once.

    A sum over draws is one over distinct items, each of whose scores gains the log of how often it
    was drawn. logq: see ``logq_scores``: none, or negatives, or both. taken: a user's items that
    are no candidates of a row; None leaves them in.
    """

    towers: Towers
    table: ItemTable
    sampler: NegativeSampler
    logq: str
    taken: UserItems | None

    def __call__(self, batch: TrainBatch, generator: torch.Generator) -> Tensor:
        target, size = batch.target, len(batch.target)
        (drawn,) = self.sampler.draw(target, generator, shared=True)
        rows, where = distinct(torch.cat([target, drawn]), len(self.sampler.counts))
        excluded = None if self.taken is None else self.taken.among(batch, rows)
        own, at = torch.split(where, [size, len(drawn)])
        rows = in_steps(rows, ITEM_STEP)
        bias, own_bias = self._biases(rows, own, at)
        device = self.table.device
        vectors = self.towers.items(self.table(rows, generator))  # [R, D]
        batch, own = batch.to(device), own.to(device)
        model = self.towers.model
        return full_softmax(
            model.queries(user_vectors(self.towers, batch), rows_at(vectors, own)),
            vectors,
            own,
            temperature=model.temperature,
            excluded=None if excluded is None else excluded.to(device),
            bias=bias.to(device),
            own_bias=None if own_bias is None else own_bias.to(device),
            weight=batch.weight,
        )

    def _biases(self, rows: Tensor, own: Tensor, at: Tensor) -> tuple[Tensor, Tensor | None]:
        """What scores gain as candidates, [R], and what those of the targets gain, [Q]; None: 0.

        rows: catalogue rows [R], at which the targets stand at ``own`` and the draw at ``at``.
        """
        times = torch.bincount(at, minlength=len(rows)).log()  # -inf of what is a target alone
        if self.logq == "none":
            return times, None
        expected = self.sampler.expected(rows, batch_size=len(own))
        own_bias = corrected(torch.zeros(len(own)), values_at(expected, own))
        return corrected(times, expected), own_bias if self.logq == "both" else None


@dataclass
class SampledLoss:
    """A positive against drawn negatives, each pair by itself.

    loss: of positives against negatives. shared: one draw for the whole batch, else one a row.
    logq: a form of ``logq_scores``, or none. known, or taken where the draw is shared: a user's
    items that are no negatives of a row; None excludes only the row's own target.
    """

    towers: Towers
    table: ItemTable
    sampler: NegativeSampler
    loss: PairLoss
    shared: bool
    logq: str
    known: KnownPairs | None
    taken: UserItems | None

    def __call__(self, batch: TrainBatch, generator: torch.Generator) -> Tensor:
        target = batch.target
        parts = self.sampler.draw(target, generator, shared=self.shared)
        drawn = [target, *parts]
        rows, where = distinct(torch.cat([d.flatten() for d in drawn]), len(self.sampler.counts))
        own, *places = torch.split(where, [d.numel() for d in drawn])
        places = [at.view(part.shape) for at, part in zip(places, parts, strict=True)]
        excluded = _beside([self._excluded(batch, rows, at) for at in places])
        rows = in_steps(rows, ITEM_STEP)
        device = self.table.device
        batch, excluded = batch.to(device), excluded.to(device)
        vectors = self.towers.items(self.table(rows, generator))
        positives = rows_at(vectors, own.to(device))  # [Q, D]
        model = self.towers.model
        queries = model.queries(user_vectors(self.towers, batch), positives) / model.temperature
        positive = best_products(queries, positives.unsqueeze(1)).squeeze(1)
        negative = _beside([_products(queries, vectors, at.to(device)) for at in places])
        if self.sampler.kind == "hard":
            negative, excluded = hardest(negative, excluded, self.sampler.num_negatives)
        if self.logq != "none":
            (candidates,) = parts  # one part, as logQ is of losses whose draw is shared
            positive, negative = logq_scores(
                positive,
                negative,
                excluded=excluded,
                form=self.logq,
                positive_count=self.sampler.expected(target, batch_size=len(target)).to(device),
                negative_count=self.sampler.expected(candidates, batch_size=len(target)).to(device),
            )
        return self.loss(positive, negative, excluded=excluded, weight=batch.weight)

    def _excluded(self, batch: TrainBatch, rows: Tensor, place: Tensor) -> Tensor:
        """Which of a part of the draw are no negatives of a row: bool [Q, N].

        It is the catalogue rows [R], ascending, at the places [N] or [Q, N].
        """
        drawn = values_at(rows, place)
        excluded = drawn == batch.target.unsqueeze(1)
        if self.known is not None:
            excluded |= self.known.contains(batch.user, drawn)
        if self.taken is not None:
            excluded |= self.taken.among(batch, rows).mask(len(rows))[:, place]
        return excluded


def _products(queries: Tensor, vectors: Tensor, place: Tensor) -> Tensor:
    """Scores [Q, N] of the rows of ``vectors`` at places [N], or at each query's own [Q, N]."""
    if place.dim() == 2 and place.numel() * vectors.shape[1] > FEW_NUMBERS:
        return own_products(queries, vectors, place)
    return best_products(queries, rows_at(vectors, place))


def _beside(parts: list[Tensor]) -> Tensor:
    """[Q, N] of each part of a draw in one, without a copy where it is but one."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
