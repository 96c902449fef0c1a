"""How a run trains: its mode, loss, negatives and steps. No torch here, as in ``rules``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from rechub_cli.checks import check, check_flags, check_kind, check_known
from rechub_cli.errors import ConfigError
from rechub_cli.suggest import did_you_mean
from rechub_cli.trainers.rules import (
    EXCLUDE,
    LOGQ,
    LOSSES,
    MODES,
    PRECISIONS,
    SAMPLERS,
    loss_rule,
    loss_rules,
    sampler_rule,
    sampler_rules,
)


@dataclass(frozen=True)
class LossOptions:
    """name: bce | gbce (pointwise), bpr | bpr_max (pairwise), softmax (listwise).

    gbce_t: gbce's calibration, 0 (plain BCE) to 1. bpreg: weight >= 0 of bpr_max's penalty on the
    negatives' scores times the temperature. Raises ConfigError on what the loss needs or ignores.
    """

    name: str
    gbce_t: float | None = None
    bpreg: float | None = None

    def __post_init__(self) -> None:
        check_known("loss", self.name, [name for names in LOSSES.values() for name in names])
        check(self, *loss_rules(self.name, gbce_t=self.gbce_t, bpreg=self.bpreg))


@dataclass(frozen=True)
class NegativeOptions:
    """sampler: auto (see choose_sampler), full (listwise only) | uniform | popularity | in_batch |
    mixed | hard.

    num_negatives: drawn a row (pointwise, pairwise) or a step (listwise); of hard, kept a row.
    alpha: popularity draws in proportion to count^alpha; None: 1. pool_size: random items a step
    among which hard finds the highest-scoring. logq (listwise): see ``losses.logq_scores``; None:
    negatives, and none for hard. exclude: which items of the row's user are no candidates: none,
    seen (before the target) or known; auto: known in pairs and for hard, else seen, or none where
    serving masks none. Raises ConfigError on what the sampler needs or ignores.
    """

    sampler: str
    num_negatives: int | None = None
    alpha: float | None = None
    logq: str | None = None
    pool_size: int | None = None
    exclude: str = "auto"

    def __post_init__(self) -> None:
        check_known("sampler", self.sampler, SAMPLERS)
        check_known("exclude", self.exclude, EXCLUDE)
        if self.logq is not None:
            check_known("logq", self.logq, LOGQ)
        check(self, *sampler_rules(**vars(self)))


@dataclass(frozen=True)
class StepOptions:
    """How the towers compute in training. precision: fp32 | bf16, of their layers and, on a
    CPU, of the loss's products; weights, sums, losses and optimizer state are fp32. compile: by
    torch.compile.
    """

    precision: str = "fp32"
    compile: bool = False

    def __post_init__(self) -> None:
        check_known("precision", self.precision, PRECISIONS)
        check_flags(compile=self.compile)


def parse_mode(mode: int | str) -> str:
    """The mode's name. Raises ConfigError for another than 0, 1, 2 or the names."""
    if mode in MODES:
        return str(mode)
    if isinstance(mode, int) and not isinstance(mode, bool) and 0 <= mode < len(MODES):
        return MODES[mode]
    raise ConfigError(
        f"mode={mode!r}; allowed: 0 or 'pointwise', 1 or 'pairwise', 2 or 'listwise'."
        + did_you_mean(str(mode), MODES)
    )


def check_together(mode: str, loss: LossOptions, negatives: NegativeOptions) -> None:
    """Raise ConfigError where mode, loss and negatives do not go together, or are none."""
    check_kind("loss", loss, LossOptions, "LossOptions, e.g. LossOptions('bpr')")
    check_kind("negatives", negatives, NegativeOptions, "NegativeOptions('uniform', 32) or alike")
    check({"loss": loss.name}, loss_rule(mode, loss.name))
    check(
        negatives,
        sampler_rule(mode, loss.name, negatives.sampler),
        (
            mode != "listwise" and negatives.logq is not None,
            f"logq|is ignored by mode {mode}: it corrects the softmax of mode listwise",
        ),
        (
            mode != "listwise" and negatives.exclude not in ("auto", "known"),
            f"exclude|is not possible in mode {mode}, where known items are no negatives",
        ),
    )


FP32 = StepOptions()
DEFAULT_LOSS = {mode: LossOptions(names[0]) for mode, names in LOSSES.items()}
DEFAULT_NEGATIVES = {
    "pointwise": NegativeOptions("uniform", 32),
    "pairwise": NegativeOptions("uniform", 32),
    "listwise": NegativeOptions("auto"),
}
MOST_VALIDATED = 50_000
"""Queries that an epoch is validated on where nothing is said: more take long, and tell no more."""
MOST_COMPARED, AUTO_NEGATIVES = 8_192, 2048
"""Of sampler=auto: items of a catalogue that is compared whole, and how many are drawn of a larger
one beside the batch's own targets. On Amazon Beauty (12,101 items) that ranks about as well, MIND
in .4 of the time (recipes/TRIALS.md)."""
MOST_UPDATED = 250_000
"""Trained items that optimizer auto updates at every step, at most. Steps of lazy_adam are faster
from some 50,000 on (YoutubeDNN, width 128, auto's negatives of 100,000 items: 44 ms for adam's 61;
of 400,000: 42 for 141), but it may need more of them (Amazon Beauty: 23 epochs for 16)."""


def most_validated(valid_queries: int | None) -> int:
    """Validation queries that pick the best epoch, at most. valid_queries: the option."""
    return MOST_VALIDATED if valid_queries is None else valid_queries


def choose_optimizer(
    params: Mapping[str, Any],
    negatives: NegativeOptions,
    *,
    num_items: int,
    clip_norm: float | None,
    on_cpu: bool,
) -> dict[str, Any]:
    """params, as of build_optimizer; name auto, or none, becomes adam or lazy_adam.

    lazy_adam: where, on a CPU, a step looks up a part of more than MOST_UPDATED trained items, and
    neither weight decay nor clip_norm asks for all rows. On a GPU a pass over all takes little.
    """
    name = params.get("name", "auto")
    if name == "auto":
        drawn = choose_sampler(negatives, num_items=num_items).sampler != "full"
        whole = params.get("weight_decay", 0) or clip_norm is not None
        many = drawn and num_items > MOST_UPDATED
        name = "lazy_adam" if many and on_cpu and not whole else "adam"
    return {**params, "name": name}


def choose_sampler(options: NegativeOptions, *, num_items: int) -> NegativeOptions:
    """options; of sampler=auto those for a catalogue of so many trained items.

    A step's time grows with what a target is compared with, what it learns hardly.
    """
    if options.sampler != "auto":
        return options
    if num_items <= MOST_COMPARED:
        return replace(options, sampler="full")
    return replace(options, sampler="mixed", num_negatives=AUTO_NEGATIVES)
