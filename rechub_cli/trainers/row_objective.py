"""From a ``(features, label)`` batch of any DataLoader to a loss. Q rows, N negatives."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rechub_cli.errors import RechubError
from rechub_cli.features import DenseFeature
from rechub_cli.layers.embedding import read
from rechub_cli.models.matching.base import best_products
from rechub_cli.trainers.losses import PairLoss, labelled_bce
from rechub_cli.trainers.towers import Towers

NEGATIVES_KEY = "neg_items"


@dataclass
class RowObjective:
    """The loss of a ``(features, label)`` batch from any DataLoader.

    mode pointwise: each row is a yes (1) or a no (0). Modes pairwise and listwise: every row is
    a positive, and its negatives are the other rows' items, or the ``neg_items`` of the batch: a
    dict of item features [Q, N], or ids [Q, N] where the item has one feature. loss: of these
    two modes; pointwise takes BCE on the labels.
    """

    towers: Towers
    mode: str
    loss: PairLoss

    def __call__(self, features: dict[str, Tensor], label: Tensor) -> Tensor:
        self._check(features, label)
        model, positives = self.towers.model, self.towers.items(features)
        queries = model.queries(self.towers.users(features), positives) / model.temperature
        positive = best_products(queries, positives.unsqueeze(1)).squeeze(1)
        if self.mode == "pointwise":
            return labelled_bce(positive, label.float())
        negatives, excluded = self._negatives(features, positives)
        return self.loss(positive, best_products(queries, negatives), excluded=excluded)

    def _negatives(self, features: dict[str, Tensor], positives: Tensor) -> tuple[Tensor, Tensor]:
        item_id = self.towers.model.schema.item_features[0].name
        own = features[item_id].unsqueeze(1)  # [Q, 1]
        given = features.get(NEGATIVES_KEY)
        if given is None:
            return positives, features[item_id] == own
        columns = given if isinstance(given, dict) else {item_id: given}
        others = [f.name for f in self.towers.model.schema.item_features if f.name not in columns]
        if others:
            raise RechubError(
                f"{NEGATIVES_KEY} has {', '.join(columns)}, and items have {', '.join(others)} "
                "too: make it a dict of all columns of the negatives, each [Q, N]"
            )
        shape = read(columns, item_id).shape
        for name, values in columns.items():
            if values.shape[:2] != shape or len(values) != len(own):
                raise RechubError(
                    f"{NEGATIVES_KEY}.{name} has shape {list(values.shape)}; needed: "
                    f"[{len(own)}, N], N negatives a row, as many in every column"
                )
        flat = {name: t.flatten(0, 1) for name, t in columns.items()}
        vectors = self.towers.items(flat)
        return vectors.view(*shape, -1), columns[item_id] == own

    def _check(self, features: dict[str, Tensor], label: Tensor) -> None:
        rows = len(read(features, self.towers.model.schema.item_features[0].name))
        if label.shape != (rows,):
            raise RechubError(
                f"the labels have shape {list(label.shape)}; needed: [{rows}], one a row"
            )
        for feature in self.towers.model.schema.by_name.values():
            if len(read(features, feature.name)) != rows:
                raise RechubError(
                    f"{feature.name} has {len(features[feature.name])} rows in a batch of {rows}; "
                    "needed: one value a row"
                )
            if isinstance(feature, DenseFeature):
                _check_finite(feature.name, read(features, feature.name))
        if self.mode == "pointwise":
            if NEGATIVES_KEY in features:
                raise RechubError(
                    f"the batch has {NEGATIVES_KEY}, which mode 0 (pointwise) does not read: each "
                    "row there is one item with its label; use mode 1 or 2, or leave it out"
                )
            if not bool(((label >= 0) & (label <= 1)).all()):  # nor NaN
                raise RechubError(
                    f"labels run from {label.min().item()} to {label.max().item()}; "
                    "mode 0 (pointwise) allows 0..1"
                )
        elif bool((label != 1).any()):
            raise RechubError(
                f"a batch has {int((label != 1).sum())} labels other than 1; in mode "
                f"{self.mode} every row is a positive: drop the others, or use mode 0 (pointwise)"
            )


def _check_finite(name: str, values: Tensor) -> None:
    finite = torch.isfinite(values)
    if not bool(finite.all()):
        row, found = int((~finite).nonzero()[0, 0]), values[~finite][0].item()
        raise RechubError(
            f"{name} is {found} in row {row} of a batch; numbers must be finite: fill what is "
            "missing"
        )
