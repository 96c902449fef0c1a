"""Named warnings: what a run's figures say when something is wrong with it.

Each rule is a function from measured figures to a RunWarning or None. A rule that cannot tell a
fault from noise or from a short run keeps silent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

from rechub_cli.run_warning import RunWarning

FEW_ROWS, FEW_STEPS, FEW_SAMPLES = 64, 50, 3
"""Below so many rows in a batch, steps in a run, gradients looked at, a rule keeps silent."""
ONE_HOT, UNIFORM = 0.02, 0.999
"""Entropy of the softmax over candidates / ln(candidates): all but one-hot, all but uniform."""
LEAK, LEAK_BESIDE_FEATURES = 0.5, 0.2
"""A first loss under this share of the expected one tells of the target among the inputs: with it
as the history's last item the share is 0.2 to 0.6 in DSSM, YoutubeDNN, GRU4Rec and SASRec, 0.7 to
0.95 in the others, whose interests it is one of many in (MovieLens 100k, Amazon Beauty), and 0.93
and more without. But a user starts near the items of the history, and so near what shares their
side features: where the next track is mostly of one album the share is down to 0.34 by that."""


@dataclass(frozen=True)
class FirstLoss:
    """The first batch's loss, and what to hold it against.

    equal_scores: the loss were all scores equal: ln C for a softmax over C candidates (ln of the
        catalogue's size where logQ corrects drawn ones), ln 2 for BPR and for BCE.
    expected: the loss of these very weights when every target is given to the user of another
        row, so that nothing can be known of it; see Probe.mismatched_loss. It is ``equal_scores``
        plus what the width of the first scores costs, for a softmax about their variance / 2:
        under cosine they have a standard deviation of 1 / (sqrt(D) * temperature) from the start.
    rows: of the batch.
    """

    found: float
    expected: float
    equal_scores: float
    rows: int


def odd_first_loss(
    loss: FirstLoss, *, temperature: float, side_features: bool = False
) -> RunWarning | None:
    """The first loss is far from what an untrained model has, or far above equal scores.

    The bound on equal scores is wide: useful cosine temperatures start at up to 6 times them.
    side_features: whether items have more than ids, by which they may resemble each other.
    """
    if loss.rows < FEW_ROWS or loss.expected <= 0:
        return None
    found = f"the first loss is {loss.found:.4g}, and {loss.expected:.4g} is expected"
    if loss.expected > 20 * loss.equal_scores:
        return RunWarning(
            "odd_first_loss",
            f"the first loss is {loss.found:.4g}, and equal scores would have "
            f"{loss.equal_scores:.4g}: the first scores are much too wide. Raise temperature "
            f"({temperature:g}), use similarity=cosine, or start from shorter vectors",
        )
    if loss.found < (LEAK_BESIDE_FEATURES if side_features else LEAK) * loss.expected:
        return RunWarning(
            "odd_first_loss",
            f"{found} of a model that knows nothing: the input shows the target. Look for a "
            "history that holds it, or a user feature made from it; weights that were trained "
            "before on these data do the same, and are well, and so do users of a DataLoader who "
            "come back to their items",
        )
    if loss.found > 2 * loss.expected:
        return RunWarning(
            "odd_first_loss",
            f"{found} of a model that knows nothing: this one prefers anything to the target. "
            "Look for a sign turned round, or weights that belong to another vocabulary",
        )
    return None


def loss_did_not_move(losses: Sequence[float], *, chance: float) -> RunWarning | None:
    """The halves of a run have one mean loss: within 1%, and two standard errors.

    losses: of every batch, in order. chance: the loss of weights that know nothing; one that is
    well below may stand still: its weights were trained before.
    """
    if len(losses) < FEW_STEPS:
        return None
    halves = losses[: len(losses) // 2], losses[len(losses) // 2 :]
    before, after = map(fmean, halves)
    noise = math.hypot(*(pstdev(half) / math.sqrt(len(half)) for half in halves))
    unmoved = min(0.01 * abs(before), max(0.0005 * abs(before), 2 * noise))
    if abs(after - before) > unmoved or after < 0.9 * chance:
        return None
    return RunWarning(
        "loss_did_not_move",
        f"the mean loss of the first half of {len(losses)} steps is {before:.4g}, and that of the "
        f"second {after:.4g}: next to nothing was learned. Raise optimizer_params.lr or n_epoch, "
        "and see that temperature lets scores differ",
    )


def saturated_temperature(
    entropy: Sequence[float | None], *, temperature: float, steps: int
) -> RunWarning | None:
    """The softmax over candidates was all but one-hot, or all but uniform, from first to last.

    entropy: its share (see ONE_HOT) at the first and the last step; None where there is none.
    The uniform end is a matter of temperature only above 1: below, scores are free to grow and
    had not the time.
    """
    first, last = entropy
    if first is None or last is None or steps < FEW_STEPS:
        return None
    if max(first, last) < ONE_HOT:
        meaning, cure = "the best candidate takes everything, whatever it is", "raise"
    elif min(first, last) > UNIFORM and temperature > 1:
        meaning, cure = "scores hardly differ, and the loss cannot fall", "lower"
    else:
        return None
    return RunWarning(
        "saturated_temperature",
        f"at temperature={temperature:g} the entropy of the softmax over candidates is "
        f"{first:.2%} of its largest value at the first step and {last:.2%} at the last: "
        f"{meaning}. Please {cure} model.temperature: 0.05 to 0.1 suits cosine, 1 suits dot",
    )


def zero_gradient(parts: Sequence[str], *, samples: int) -> RunWarning | None:
    """No gradient ever reached a part of the model. parts: their names."""
    if not parts or samples < FEW_SAMPLES:
        return None
    return RunWarning(
        "zero_gradient",
        f"the gradient of {', '.join(parts)} was exactly 0 at all {samples} steps looked at: the "
        "loss does not depend on it. Look for detach() or no_grad() on its way, or for an input "
        "that is always empty; what is frozen on purpose (requires_grad=False) does not count",
    )


def exploding_gradient(
    first: Mapping[str, float], last: Mapping[str, Sequence[float]], *, worse: bool
) -> RunWarning | None:
    """A part's gradient became 100 times what it was, and the loss rose above its beginning.

    first, last: norms by part, of the first step and of those looked at in the last epoch.
    worse: the last epoch's mean loss is above the first loss, and that of knowing nothing.
    """
    if not worse:
        return None
    grown = [
        f"{part} (from {norm:.3g} to {max(last[part]):.3g})"
        for part, norm in first.items()
        if last[part] and 0 < 100 * norm < max(last[part])
    ]
    if not grown:
        return None
    return RunWarning(
        "exploding_gradient",
        f"the gradient norm of {', '.join(grown)} grew over 100 times, and the loss is above "
        "where it began: training diverges. Lower optimizer_params.lr, set clip_norm, or warm up "
        "(schedule.warmup_steps)",
    )


def below_floor(
    model: Mapping[str, float], floor: Mapping[str, float], *, metric: str, queries: int
) -> RunWarning | None:
    """The model ranks worse than popularity, by more than two standard errors.

    model, floor: test metrics of both. metric: one of them whose value for a query is in 0..1, so
    that its variance over queries is at most its mean. queries: the number of them.
    """
    found, least = model[metric], floor[metric]
    if least - found <= 2 * math.sqrt((found + least) / max(queries, 1)):
        return None
    return RunWarning(
        "below_floor",
        f"test {metric} is {found:.4f} and popularity reaches {least:.4f}: the model ranks worse "
        "than a count of training events. This is a fault, not a result: train longer, try "
        "another optimizer_params.lr, heed the other warnings, and look at the data with "
        "`rechub check`",
    )
