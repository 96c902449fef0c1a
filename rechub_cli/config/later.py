"""Settings younger than runs and figures that are still read, and what held before them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Later:
    """group.key, which ``value`` stands for where it is missing. names: of the group's options
    those that have it; none: all have. beside: a key of the same node where it is to be."""

    group: str
    key: str
    value: Any
    names: tuple[str, ...] = ()
    beside: str | None = None

    def add(self, values: Mapping[str, Any], path: Sequence[str]) -> dict[str, Any]:
        """values, with the setting in the node at ``path``, where it belongs there."""
        if path:
            node = values.get(path[0])
            added = self.add(node, path[1:]) if isinstance(node, Mapping) else node
            return {**values, path[0]: added} if path[0] in values else dict(values)
        return {self.key: self.value, **values} if self.fits(values) else dict(values)

    def fits(self, node: Mapping[str, Any]) -> bool:
        """Whether a node of the group is to have the setting."""
        named = not self.names or node.get("name") in self.names
        return named and self.beside in (None, *node)


MLP_MODELS = ("dssm", "youtube_dnn", "mind", "comirec_dr", "comirec_sa")
LATER = (
    Later("trainer", "precision", "fp32"),
    Later("trainer", "compile", False),
    Later("trainer", "valid_queries", None),  # then all queries were used
    Later("trainer", "samples", "auto"),  # then windows of causal models, of sparse data too
    Later("model", "positions", "end", names=("sasrec",)),
    Later("model", "attention_dropout", 0.0, names=("sasrec",)),
    Later("model.user_params", "residual", False, beside="dims"),
    Later("model.item_params", "residual", False, beside="dims"),
    Later("model", "input_dropout", 0.0, names=MLP_MODELS),
    Later("model", "residual", False, names=("gru4rec",)),
    Later("model", "maps", "position", names=("comirec_dr",)),
    Later("model", "agreement", "dot", names=("mind", "comirec_dr")),
    # Recorded figures lack it: it was null.
    Later("trainer.optimizer_params", "lr", 1e-3, beside="weight_decay"),
    Later("data", "cache", False, names=("table",)),
    Later("trainer.negatives", "exclude", "none", beside="logq"),
)

NULLS: tuple[tuple[tuple[str, ...], dict[str, Any], Any], ...] = (
    (("features", "max_len"), {"gru4rec": 200, "sasrec": 200}, 50),
    (("trainer", "optimizer_params", "lr"), {"comirec_dr": 5e-3}, 1e-3),
)
"""Settings that were null: what that stood for, by model, and of all others."""


def complete(values: Mapping[str, Any]) -> dict[str, Any]:
    """A saved config with the settings that were not there when it was saved, or were null."""
    found = dict(values)
    for later in LATER:
        found = later.add(found, later.group.split("."))
    model = found.get("model")
    name = model.get("name") if isinstance(model, Mapping) else None
    for path, by_model, otherwise in NULLS:
        found = _filled(found, path, by_model.get(str(name), otherwise))
    return found


def _filled(values: dict[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    """values, with ``value`` in place of null at ``path``."""
    key, *rest = path
    node = values.get(key, 0)
    if rest and isinstance(node, Mapping):
        return {**values, key: _filled(dict(node), rest, value)}
    return {**values, key: value} if node is None and not rest else values
