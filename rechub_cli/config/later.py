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
    Later("trainer", "samples", "auto"),  # then windows of causal models, of sparse data too
    Later("model", "positions", "end", names=("sasrec",)),
    Later("model", "attention_dropout", 0.0, names=("sasrec",)),
    Later("model.user_params", "residual", False, beside="dims"),
    Later("model.item_params", "residual", False, beside="dims"),
    Later("model", "input_dropout", 0.0, names=MLP_MODELS),
    Later("model", "residual", False, names=("gru4rec",)),
    Later("model", "maps", "position", names=("comirec_dr",)),
    Later("trainer.optimizer_params", "lr", 1e-3, beside="weight_decay"),
    Later("data", "cache", False, names=("table",)),
    Later("trainer.negatives", "exclude", "none", beside="logq"),
)


def complete(values: Mapping[str, Any]) -> dict[str, Any]:
    """A saved config with the settings that were not there when it was saved."""
    found = dict(values)
    for later in LATER:
        found = later.add(found, later.group.split("."))
    return _with_learning_rate(_with_history_length(found))


def _with_history_length(values: dict[str, Any]) -> dict[str, Any]:
    """features.max_len was null, for 50, and 200 of the causal models."""
    features, model = values.get("features"), values.get("model")
    if not isinstance(features, Mapping) or features.get("max_len", 0) is not None:
        return values
    causal = isinstance(model, Mapping) and model.get("name") in ("gru4rec", "sasrec")
    return {**values, "features": {**features, "max_len": 200 if causal else 50}}


def _with_learning_rate(values: dict[str, Any]) -> dict[str, Any]:
    """trainer.optimizer_params.lr was null, for 0.001, and 0.005 of ComiRec-DR."""
    trainer, model = values.get("trainer"), values.get("model")
    if not isinstance(trainer, Mapping):
        return values
    params = trainer.get("optimizer_params")
    if not isinstance(params, Mapping) or params.get("lr", 0) is not None:
        return values
    fast = isinstance(model, Mapping) and model.get("name") == "comirec_dr"
    params = {**params, "lr": 5e-3 if fast else 1e-3}
    return {**values, "trainer": {**trainer, "optimizer_params": params}}
