"""From training data to a stream of losses, whatever the data are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rechub_cli.checks import check_kind
from rechub_cli.data.dataset import MatchData, training_events
from rechub_cli.errors import ConfigError, RechubError
from rechub_cli.trainers.loading import training_loader
from rechub_cli.trainers.losses import (
    PAIR_LOSSES,
    PairLoss,
    bce,
    bpr_max,
    gbce_beta,
    weighted_softmax,
)
from rechub_cli.trainers.negatives import KnownPairs, NegativeSampler, UserItems
from rechub_cli.trainers.objectives import (
    DrawnSoftmax,
    FullSoftmax,
    ItemTable,
    Objective,
    SampledLoss,
)
from rechub_cli.trainers.options import LossOptions, NegativeOptions, choose_sampler
from rechub_cli.trainers.probes import MAX_CANDIDATES, CatalogueProbe, Probe, RowProbe, spread
from rechub_cli.trainers.row_objective import RowObjective
from rechub_cli.trainers.towers import Towers


@dataclass(frozen=True)
class Steps:
    """losses(epoch) yields (loss, rows) a batch; length: batches an epoch, where known.

    probe: answers for the batch whose loss came last.
    """

    losses: Callable[[int], Iterator[tuple[Tensor, int]]]
    length: int | None
    probe: Probe

    def updates(self, *, n_epoch: int, accumulate: int) -> int | None:
        """The optimizer's steps in all epochs, where known; the rest of an epoch is one too."""
        return None if self.length is None else n_epoch * -(-self.length // accumulate)


def row_steps(
    train: Iterable[Any],
    towers: Towers,
    *,
    mode: str,
    loss: LossOptions,
    device: torch.device,
) -> Steps:
    """Steps over any iterable of ``(features dict, label)``; see RowObjective."""
    check_kind("train", train, Iterable, "data of load_interactions, or (features dict, label)s")
    if loss.name == "gbce":
        raise ConfigError(
            "loss=gbce needs the size of the catalogue, which a DataLoader of rows does not give: "
            "use loss=bce, or data of load_interactions"
        )
    objective = RowObjective(towers, mode, _pair_loss(loss, towers.model.temperature))
    probe = RowProbe(objective)

    def losses(epoch: int) -> Iterator[tuple[Tensor, int]]:
        empty = True
        for item in train:
            empty = False
            features, label = row_batch(item, device)
            probe.features, probe.label = features, label
            with towers.products():
                found = objective(features, label)
            yield found, len(label)
        if empty:
            again = "they are read anew each epoch: give a list, a DataLoader or an IterableDataset"
            raise RechubError(f"the training data hold no batch in epoch {epoch}; {again}")

    return Steps(losses, _length(train), probe)


def _length(train: Iterable[Any]) -> int | None:
    try:
        return len(train) if isinstance(train, Sized) else None
    except TypeError:  # so says a DataLoader over an IterableDataset
        return None


def catalogue_steps(
    data: MatchData,
    towers: Towers,
    *,
    loss: LossOptions,
    negatives: NegativeOptions,
    batch_size: int | None,
    device: torch.device,
    seed: int,
    samples: str = "auto",
    mask_seen: bool = True,
) -> Steps:
    """Steps over data of ``load_interactions``, with negatives of the catalogue.

    batch_size, samples: see ``loading``.
    mask_seen: whether the items of a user's history are left out where the model serves.
    """
    model = towers.model
    loader = training_loader(data, model, samples=samples, batch_size=batch_size, seed=seed)
    options = choose_sampler(negatives, num_items=len(data.trained_items))
    objective = _objective(
        data, towers, loss=loss, options=options, device=device, mask_seen=mask_seen
    )
    candidates = data.trained_items[spread(len(data.trained_items), MAX_CANDIDATES)]
    items = {name: t[candidates].to(device) for name, t in data.encoded.item.items()}
    probe = CatalogueProbe(model, objective, data.gather, items, device)

    def losses(epoch: int) -> Iterator[tuple[Tensor, int]]:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        for batch in loader.epoch(epoch):
            probe.batch = batch
            with towers.products():
                found = objective(batch, generator)
            yield found, len(batch.target)

    return Steps(losses, len(loader), probe)


def _objective(
    data: MatchData,
    towers: Towers,
    *,
    loss: LossOptions,
    options: NegativeOptions,
    device: torch.device,
    mask_seen: bool,
) -> Objective:
    table = ItemTable(
        towers.model, data.encoded.item, oov_share=data.options.oov_share, device=device
    )
    softmax, hard = loss.name == "softmax", options.sampler == "hard"
    taken = _taken(data, options, mask_seen=mask_seen) if softmax else None
    if options.sampler == "full":
        items = data.trained_items
        return FullSoftmax(towers, table, items, num_items=len(data.catalogue), taken=taken)
    sampler = NegativeSampler(
        options.sampler,
        data.trained_items,
        data.train_counts,
        num_negatives=options.num_negatives or 0,
        alpha=1.0 if options.alpha is None else options.alpha,
        pool_size=options.pool_size or 0,
    )
    logq = options.logq or ("negatives" if softmax and not hard else "none")
    if softmax and not hard and logq != "weighted":
        return DrawnSoftmax(towers, table, sampler, logq=logq, taken=taken)
    sizes = {"num_negatives": sampler.num_negatives, "num_items": len(data.trained_items)}
    return SampledLoss(
        towers,
        table,
        sampler,
        loss=_pair_loss(loss, towers.model.temperature, logq=logq, **sizes),
        shared=softmax,
        logq=logq,
        known=None if softmax else _known_pairs(data),
        taken=taken,
    )


def _known_pairs(data: MatchData) -> KnownPairs:
    """Of all training events, whichever of them are targets."""
    events = training_events(data.interactions, data.split)
    user = torch.from_numpy(data.interactions.users()[events])
    item = torch.from_numpy(data.interactions.items[events].astype(np.int64))
    return KnownPairs(user, item, num_items=len(data.catalogue))


def _taken(data: MatchData, options: NegativeOptions, *, mask_seen: bool) -> UserItems | None:
    """What the softmax leaves out of a row's candidates; see NegativeOptions.exclude."""
    exclude = options.exclude
    if exclude == "auto":
        exclude = "known" if options.sampler == "hard" else "seen" if mask_seen else "none"
    return None if exclude == "none" else UserItems(data.gather, data.split, exclude=exclude)


def _pair_loss(
    options: LossOptions,
    temperature: float,
    *,
    logq: str = "none",
    num_negatives: int = 0,
    num_items: int = 0,
) -> PairLoss:
    if options.gbce_t is not None:
        beta = gbce_beta(options.gbce_t, num_negatives=num_negatives, num_items=num_items)
        return partial(bce, beta=beta)
    if options.bpreg is not None:
        # Of products, not scores: under cosine at 0.07 those are 14 times as large, and the penalty
        # would leave nothing else to learn.
        return partial(bpr_max, bpreg=options.bpreg * temperature**2)
    return weighted_softmax if logq == "weighted" else PAIR_LOSSES[options.name]


def row_batch(item: Any, device: torch.device) -> tuple[dict[str, Tensor], Tensor]:
    """One item of a user's DataLoader. Raises RechubError where it is no (features, label)."""
    if not (isinstance(item, (tuple, list)) and len(item) == 2 and isinstance(item[0], Mapping)):
        raise RechubError(
            f"the DataLoader yields {type(item).__name__}; needed: (dict of tensors, label)"
        )
    features = {name: _move(value, device) for name, value in item[0].items()}
    label = item[1]
    if not isinstance(label, Tensor):
        raise RechubError(f"the label is a {type(label).__name__}; needed: a tensor [B]")
    return features, label.to(device)


def _move(value: Any, device: torch.device) -> Any:
    if isinstance(value, Mapping):
        return {name: _move(v, device) for name, v in value.items()}
    if not isinstance(value, Tensor):
        raise RechubError(f"a feature is a {type(value).__name__}; needed: a tensor")
    return value.to(device)
