"""Which losses, samplers, logQ forms and optimizers there are, which of them go together, and what
numbers and names options take.

The shell's schema and the Python constructors apply the same rules (see checks), so both refuse
alike. No torch here: the shell reads this before it needs any.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rechub_cli.checks import (
    Rule,
    at_least,
    check_known,
    flag_rule,
    is_number,
    is_whole,
    whole_rule,
)

LOSSES = {"pointwise": ("bce", "gbce"), "pairwise": ("bpr", "bpr_max"), "listwise": ("softmax",)}
MODES = tuple(LOSSES)
WHOLE = ("auto", "full")
"""Samplers that may compare with the whole catalogue; auto does where it is small."""
WHOLE_ELSEWHERE = (
    "sampler|works in listwise mode only: the softmax alone compares a positive with the whole "
    "catalogue at once; allowed in the others: uniform, popularity, in_batch, mixed, hard"
)
SAMPLED = ("uniform", "popularity", "in_batch", "mixed", "hard")
"""Those that compare with a part of it."""
SAMPLERS = (*WHOLE, *SAMPLED)
DRAWN = ("uniform", "popularity", "mixed", "hard")
"""Those of which ``num_negatives`` says how many."""
LOGQ = ("none", "negatives", "both", "weighted")
EXCLUDE = ("auto", "none", "seen", "known")
OPTIMIZERS = ("auto", "adam", "adamw", "adagrad", "sgd", "lazy_adam", "rowwise_adagrad")
PRECISIONS = ("fp32", "bf16")
SAMPLES = ("auto", "windows", "prefixes")
ANNEAL, ANNEAL_EPOCHS, ANNEAL_RATE = "anneal", 2, 0.2
"""A schedule; its last epochs, and the share of the rate from which it falls to 0 in them."""
SCHEDULES = ("constant", "linear", "cosine", ANNEAL)
AUTO_EPOCHS = 10
"""Of fewer, two at a falling rate would be much of the training."""
LAZY = OPTIMIZERS[-2:]
"""Optimizers under which a step touches only the rows of the tables that it has looked up."""

MAX_TOP_K, MAX_SEED, MAX_THREADS = 1_000_000, 2**31 - 1, 1024


def loss_rules(name: str, *, gbce_t: float | None = None, bpreg: float | None = None) -> list[Rule]:
    """What a loss needs and what it would ignore."""
    return [
        (name == "gbce" and gbce_t is None, "gbce_t|is needed with loss=gbce, e.g. 0.75"),
        (name != "gbce" and gbce_t is not None, f"gbce_t|is ignored by loss={name}: use loss=gbce"),
        (
            gbce_t is not None and not (is_number(gbce_t) and 0 <= gbce_t <= 1),
            "gbce_t|is not in the allowed 0..1",
        ),
        (name == "bpr_max" and bpreg is None, "bpreg|is needed with loss=bpr_max, e.g. 1.0"),
        (
            name != "bpr_max" and bpreg is not None,
            f"bpreg|is ignored by loss={name}: use loss=bpr_max",
        ),
        (bpreg is not None and not at_least(bpreg, 0), "bpreg|is no number >= 0"),
    ]


def sampler_rules(
    sampler: str,
    *,
    num_negatives: int | None,
    alpha: float | None,
    pool_size: int | None,
    logq: str | None = None,
    exclude: str = "auto",
) -> list[Rule]:
    """What a sampler needs and what it would ignore."""
    drawn, hard = sampler in DRAWN, sampler == "hard"
    return [
        (
            drawn and num_negatives is None,
            f"num_negatives|is needed with sampler={sampler}, e.g. 32",
        ),
        (
            not drawn and num_negatives is not None,
            f"num_negatives|is ignored by sampler={sampler}: set it to null, or use "
            f"sampler={' or '.join(DRAWN)}",
        ),
        *(
            whole_rule(key, value, 1)
            for key, value in (("num_negatives", num_negatives), ("pool_size", pool_size))
            if value is not None
        ),
        (
            sampler != "popularity" and alpha is not None,
            f"alpha|is ignored by sampler={sampler}; it works with popularity",
        ),
        (alpha is not None and not at_least(alpha, 0), "alpha|is no number >= 0"),
        (hard and pool_size is None, "pool_size|is needed with sampler=hard, e.g. 512"),
        (
            not hard and pool_size is not None,
            f"pool_size|is ignored by sampler={sampler}; it works with hard",
        ),
        (
            hard and is_whole(num_negatives, 1) and is_whole(pool_size, 1, num_negatives - 1),
            f"pool_size|is below num_negatives={num_negatives}, which are chosen out of the pool",
        ),
        (
            sampler in WHOLE and logq is not None,
            f"logq|is ignored by sampler={sampler}: name one that draws, e.g. uniform",
        ),
        (
            hard and logq not in (None, "none"),
            "logq|is undefined for sampler=hard: what the model itself picks has no known expected "
            "count; allowed: null, none",
        ),
    ]


def loss_rule(mode: str, loss: str) -> Rule:
    """A loss belongs to one mode."""
    home = next((m for m, names in LOSSES.items() if loss in names), None)
    return (
        home not in (None, mode),
        f"loss|is a loss of mode {home}; {mode} has {' and '.join(LOSSES[mode])}",
    )


def sampler_rule(mode: str, loss: str, sampler: str) -> Rule:
    """Which losses a sampler serves."""
    if sampler in WHOLE:
        return (mode != "listwise", WHOLE_ELSEWHERE)
    return (
        loss == "gbce" and sampler != "uniform",
        "sampler|does not go with loss=gbce, whose calibration is derived for uniform draws: use "
        "sampler=uniform, or loss=bce",
    )


def decay_rule(name: str, weight_decay: float) -> Rule:
    return (
        name in LAZY and weight_decay > 0,
        f"weight_decay|is not possible with name={name}: a decay reaches every row at every step; "
        "use 0, or name=adamw",
    )


def clip_rule(name: str, clip_norm: float | None) -> Rule:
    return (
        name in LAZY and clip_norm is not None,
        f"clip_norm|is not possible with optimizer_params.name={name}, whose gradients have no "
        "norm until their rows are summed; use null, or name=adam",
    )


def lazy_sampler_rule(name: str, sampler: str) -> Rule:
    return (
        name in LAZY and sampler in WHOLE,
        f"sampler|may look up every item at every step, which optimizer_params.name={name} is not "
        "for: use a sampler that draws, or name=auto",
    )


def anneal_rule(schedule: str, n_epoch: object) -> Rule:
    """Annealing follows other epochs."""
    short = isinstance(n_epoch, int) and n_epoch <= ANNEAL_EPOCHS
    return (
        schedule == ANNEAL and short,
        f"schedule|(anneal) needs n_epoch of {ANNEAL_EPOCHS + 1} or more, of which the last "
        f"{ANNEAL_EPOCHS} have a falling rate: raise it, or use linear",
    )


def choose_schedule(name: str, *, n_epoch: int, sized: bool = True) -> str:
    """The schedule: auto is anneal of AUTO_EPOCHS or more, where their steps are known (sized),
    and else constant."""
    check_known("schedule", name, ("auto", *SCHEDULES))
    if name != "auto":
        return name
    return ANNEAL if sized and n_epoch >= AUTO_EPOCHS else "constant"


def loop_rules(found: Mapping[str, Any]) -> list[Rule]:
    """Which numbers a training loop can work with. found: name -> value."""
    threads, clip_norm = found["threads"], found["clip_norm"]
    most = f"is no integer in the allowed 1..{MAX_THREADS}"
    return [
        *(whole_rule(key, found[key], 1) for key in ("n_epoch", "accumulate")),
        *(
            whole_rule(key, found[key], 1)
            for key in ("batch_size", "patience", "valid_queries")
            if found[key] is not None
        ),
        (threads is not None and not is_whole(threads, 1, MAX_THREADS), f"threads|{most}"),
        top_k_rule(found["top_k"]),
        anneal_rule(found["schedule"], found["n_epoch"]),
        whole_rule("warmup_steps", found["warmup_steps"], 0),
        flag_rule("mask_seen", found["mask_seen"]),
        (
            clip_norm is not None and not (is_number(clip_norm) and clip_norm > 0),
            "clip_norm|is no number above 0",
        ),
        (
            not is_whole(found["seed"], 0, MAX_SEED),
            f"seed|is no integer in the allowed 0..{MAX_SEED}",
        ),
    ]


def top_k_rule(top_k: object) -> Rule:
    cut_offs = top_k if isinstance(top_k, Sequence) else ()
    fine = bool(cut_offs) and all(is_whole(k, 1, MAX_TOP_K) for k in cut_offs)
    return (not fine, f"top_k|is no sequence of integers in the allowed 1..{MAX_TOP_K}")


def compile_rule(compiled: bool, device: str) -> Rule:
    """device: auto, cpu or cuda; auto is judged once it is found."""
    return (
        compiled and device == "cpu",
        "compile|is slower on a CPU (measured: steps of YoutubeDNN, SASRec and MIND take 1.1 to "
        "1.2 times as long, after 20 to 50 s of compiling): use false, or device=cuda",
    )
