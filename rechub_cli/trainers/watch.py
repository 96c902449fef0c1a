"""Follows a run while it trains, and warns of what cannot be right."""

from __future__ import annotations

import math
from array import array
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from rechub_cli.errors import GateError
from rechub_cli.models.matching.base import MatchingModel
from rechub_cli.run_warning import RunWarning
from rechub_cli.trainers.gradients import GradientNorms
from rechub_cli.trainers.places import find_checkpoint
from rechub_cli.trainers.probes import Probe, undisturbed
from rechub_cli.trainers.reporter import Reporter
from rechub_cli.trainers.sanity import (
    FirstLoss,
    exploding_gradient,
    loss_did_not_move,
    odd_first_loss,
    saturated_temperature,
    zero_gradient,
)


class Watch:
    """One fit's measures, at the cost of four forward passes and a few gradient norms.

    warnings: what was found so far; the reporter hears of each at once. fresh: the model was not
    trained here before; else its first loss has no expected value.
    """

    def __init__(
        self, model: MatchingModel, probe: Probe, reporter: Reporter, *, fresh: bool
    ) -> None:
        self.model, self.probe, self.reporter, self.fresh = model, probe, reporter, fresh
        self.warnings: list[RunWarning] = []
        self.gradients = GradientNorms(model)
        self.losses = array("d")
        self.epoch_start, self.mean = 0, math.nan
        self.first: FirstLoss | None = None
        self.entropy: float | None = None

    def loss(self, value: float) -> None:
        """A batch's loss is known and its gradient taken, its step not.

        Not before the gradient: a batch norm's backward wants its buffers untouched.
        """
        self.losses.append(value)
        if self.first is not None:
            return
        self.first = first_loss(self.model, self.probe, value)
        self.entropy = score_entropy(self.model, self.probe)
        if self.fresh:
            beside_ids = len(self.model.schema.item_features) > 1
            temperature = self.model.temperature
            self._warn(
                odd_first_loss(self.first, temperature=temperature, side_features=beside_ids)
            )

    def epoch(self) -> tuple[float, dict[str, float]]:
        """An epoch is over. Returns its mean loss, and each part's mean gradient norm."""
        self.mean = fmean(self.losses[self.epoch_start :])
        self.epoch_start = len(self.losses)
        return self.mean, self.gradients.epoch()

    def stop(self) -> dict[str, Any]:
        """Training is over. Returns the first loss and the entropy of scores, plain data."""
        assert self.first is not None
        entropy = (self.entropy, score_entropy(self.model, self.probe))
        gradients = self.gradients
        worse = self.mean > max(self.first.found, self.first.expected)
        chance = min(self.first.expected, self.first.equal_scores)
        self._warn(loss_did_not_move(self.losses, chance=chance))
        self._warn(
            saturated_temperature(
                entropy, temperature=self.model.temperature, steps=len(self.losses)
            )
        )
        self._warn(zero_gradient(gradients.untouched(), samples=gradients.samples))
        self._warn(exploding_gradient(gradients.first, gradients.last, worse=worse))
        return {
            "first_loss": asdict(self.first),
            "score_entropy": {"first": entropy[0], "last": entropy[1]},
        }

    def _warn(self, warning: RunWarning | None) -> None:
        if warning is not None:
            self.warnings.append(warning)
            self.reporter.warn(warning)


def check_finite(loss: float, *, epoch: int, step: int, checkpoints: Path | None) -> None:
    """Raise GateError for a loss that is not finite. checkpoints: where the epochs are kept."""
    if math.isfinite(loss):
        return
    best = None if checkpoints is None else find_checkpoint(checkpoints / "best")
    kept = "" if best is None else f" The best full epoch is in {best}."
    raise GateError(
        f"the loss is {loss} at epoch {epoch}, step {step}: lower optimizer_params.lr, set "
        f"clip_norm, or raise temperature.{kept}"
    )


def first_loss(model: MatchingModel, probe: Probe, found: float) -> FirstLoss:
    """What the batch of a loss ``found`` would have had; see FirstLoss."""
    temperature = model.temperature
    with undisturbed(model):
        expected = probe.mismatched_loss().item()
        model.temperature = math.inf
        try:
            equal = probe.mismatched_loss().item()
        finally:
            model.temperature = temperature
    return FirstLoss(found, expected, equal, probe.rows)


def score_entropy(model: MatchingModel, probe: Probe) -> float | None:
    """Mean over users of the entropy of the softmax over candidates, as a share of its largest.

    None for a single candidate.
    """
    with undisturbed(model):
        scores = probe.scores()  # [Q, C]
        if scores.shape[1] < 2:
            return None
        log_share = torch.log_softmax(scores.double(), dim=1)
        entropy = -(log_share.exp() * log_share).sum(dim=1).mean()
    return float(entropy) / math.log(scores.shape[1])
