"""From training data to a stream of losses, whatever the data are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rechub_cli.data.batches import TrainLoader
from rechub_cli.data.dataset import MatchData
from rechub_cli.data.windows import WindowLoader
from rechub_cli.errors import ConfigError, RechubError
from rechub_cli.models.matching.base import MatchingModel
from rechub_cli.models.matching.causal import CausalModel
from rechub_cli.trainers.negatives import KnownPairs, NegativeSampler
from rechub_cli.trainers.objectives import (
    FullSoftmax,
    ItemTable,
    Objective,
    RowObjective,
    SampledLoss,
)

MODES = ("pointwise", "pairwise", "listwise")
MODE_LOSSES = {"pointwise": "bce", "pairwise": "bpr", "listwise": "softmax"}


@dataclass(frozen=True)
class NegativeOptions:
    """sampler: full (listwise only) | uniform | popularity | in_batch | mixed.

    num_negatives, alpha: see NegativeSampler. logq: correct by the expected counts; None: yes
    in listwise mode.
    """

    sampler: str
    num_negatives: int | None = None
    alpha: float | None = None
    logq: bool | None = None


DEFAULT_NEGATIVES = {
    "pointwise": NegativeOptions("uniform", 32),
    "pairwise": NegativeOptions("uniform", 32),
    "listwise": NegativeOptions("full"),
}


@dataclass(frozen=True)
class Steps:
    """losses(epoch) yields (loss, rows) a batch; length: batches an epoch, where known."""

    losses: Callable[[int], Iterator[tuple[Tensor, int]]]
    length: int | None


def row_steps(
    train: Iterable[Any], model: MatchingModel, *, mode: str, device: torch.device
) -> Steps:
    """Steps over any iterable of ``(features dict, label)``; see RowObjective."""
    objective = RowObjective(model, mode)

    def losses(epoch: int) -> Iterator[tuple[Tensor, int]]:
        for item in train:
            features, label = row_batch(item, device)
            yield objective(features, label), len(label)

    return Steps(losses, len(train) if isinstance(train, Sized) else None)


def catalogue_steps(
    data: MatchData,
    model: MatchingModel,
    *,
    mode: str,
    negatives: NegativeOptions,
    batch_size: int,
    device: torch.device,
    seed: int,
) -> Steps:
    """Steps over data of ``load_interactions``, with negatives of the catalogue."""
    make = data.window_loader if isinstance(model, CausalModel) else data.train_loader
    loader = make(batch_size=batch_size, seed=seed)
    objective = _objective(data, loader, model, mode=mode, options=negatives, device=device)

    def losses(epoch: int) -> Iterator[tuple[Tensor, int]]:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        for batch in loader.epoch(epoch):
            yield objective(batch, generator), len(batch.target)

    return Steps(losses, len(loader))


def _objective(
    data: MatchData,
    loader: TrainLoader | WindowLoader,
    model: MatchingModel,
    *,
    mode: str,
    options: NegativeOptions,
    device: torch.device,
) -> Objective:
    table = ItemTable(model, data.encoded.item, oov_share=data.options.oov_share, device=device)
    if options.sampler == "full":
        if mode != "listwise":
            raise ConfigError(f"sampler=full works in listwise mode only, not in {mode}")
        return FullSoftmax(model, table, data.trained_items)
    listwise = mode == "listwise"
    sampler = NegativeSampler(
        options.sampler,
        data.trained_items,
        data.train_counts,
        num_negatives=options.num_negatives or 0,
        alpha=1.0 if options.alpha is None else options.alpha,
    )
    known = None
    if not listwise:
        known = KnownPairs(loader.user, loader.target, num_items=len(data.catalogue))
    return SampledLoss(
        model,
        table,
        sampler,
        loss=MODE_LOSSES[mode],
        shared=listwise,
        logq=listwise and options.logq is not False,
        known=known,
    )


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
