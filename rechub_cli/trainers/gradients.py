"""Gradient norms by part of the model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import fmean

from torch import nn

from rechub_cli.models.matching.base import MatchingModel

PARTS = ("embeddings", "user_tower", "item_tower", "other")
Norms = dict[str, list[float]]


class GradientNorms:
    """Norms of PARTS, those that the model has; a table counts as embeddings in any tower.

    They are taken at the steps 1, 2, 4, 8 ... of an epoch: cheap, and known without its length.
    first: of the run's first step. last: of the last epoch. never: names of tensors whose
    gradient was 0 each time. samples: steps looked at.
    """

    def __init__(self, model: MatchingModel) -> None:
        self.parts = learned_parts(model)
        self.never: set[str] = {name for part in self.parts.values() for name in part}
        self.first: dict[str, float] = {}
        self.last: Norms = {part: [] for part in self.parts}
        self.fresh: Norms = {part: [] for part in self.parts}
        self.steps = self.samples = 0

    def step(self) -> None:
        """A step's gradients are complete, and not yet clipped."""
        self.steps += 1
        if self.steps & (self.steps - 1):
            return
        self.samples += 1
        for part, parameters in self.parts.items():
            norms = {
                name: 0.0 if p.grad is None else float(p.grad.norm())
                for name, p in parameters.items()
            }
            self.never -= {name for name, norm in norms.items() if norm != 0}
            self.fresh[part].append(math.hypot(*norms.values()))
            self.first.setdefault(part, self.fresh[part][-1])

    def epoch(self) -> dict[str, float]:
        """An epoch is over: the mean of each part's norms in it."""
        self.steps, self.last = 0, self.fresh
        self.fresh = {part: [] for part in self.parts}
        means = {part: fmean(norms) for part, norms in self.last.items() if norms}
        return {part: mean for part, mean in means.items() if math.isfinite(mean)}

    def untouched(self) -> list[str]:
        """Parts, and tables in other parts, that no gradient ever reached."""
        whole = [part for part, named in self.parts.items() if named.keys() <= self.never]
        tables = self.parts.get("embeddings", {}).keys() & self.never
        return whole + ([] if "embeddings" in whole else sorted(tables))


def learned_parts(model: MatchingModel) -> dict[str, Mapping[str, nn.Parameter]]:
    """Part -> name -> parameter, each parameter once; frozen ones are left out."""
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    parts: dict[str, dict[str, nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        top = name.split(".")[0]
        part = "embeddings" if id(parameter) in tables else top
        parts.setdefault(part if part in PARTS else "other", {})[name] = parameter
    return {part: parts[part] for part in PARTS if part in parts}
