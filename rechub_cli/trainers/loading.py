"""What the steps of a training read: windows of targets, or a row a target, and how many."""

from __future__ import annotations

from dataclasses import replace

from rechub_cli.checks import check_kind, check_known
from rechub_cli.data.batches import TrainLoader
from rechub_cli.data.dataset import MatchData
from rechub_cli.data.encoded import Encoded
from rechub_cli.data.windows import WindowLoader
from rechub_cli.errors import ConfigError, DataError
from rechub_cli.models.matching.base import MatchingModel
from rechub_cli.models.matching.causal import CausalModel
from rechub_cli.trainers.options import NegativeOptions
from rechub_cli.trainers.rules import SAMPLES

LEAST_ITEMS = 2
ROWS, PREFIXES = 512, 256
WINDOW_TARGETS, LEAST_TARGETS, MAX_WINDOWS = 2048, 256, 128
EPOCH_STEPS = 256
"""Steps that an epoch of windows should have, as far as they hold LEAST_TARGETS."""
SPARSE = 50
"""Fewer training events an item than this teach more as prefixes (see training_samples); with 286
windows gave .3118, prefixes .3126."""
SHORT = 20
"""More items than this before a target on average are too dear to be read anew for each (600 users
of MovieLens 1M, 43 items: an epoch of SASRec takes 7 times as long as of windows, for .1490 of test
NDCG@10 in place of .1439, 1 seed each)."""


def training_samples(data: MatchData, model: MatchingModel, samples: str) -> str:
    """windows or prefixes, of ``auto`` too: what the data and the model ask for.

    A window is read once for all its targets, a prefix (the history before a target) for that one.
    Of sparse data prefixes teach a causal model far more: the targets of a step are of as many
    users, each under a dropout of its own (SASRec, windows and prefixes, test NDCG@10, 1 seed each:
    Amazon Beauty, 13 events an item, .0522 and .0585; its users of 8 events and more with items of
    10, 38 an item, .2068 and .2165; the first 20 events of users of MovieLens 1M, 34 an item, .2172
    and .2266).
    """
    if not isinstance(model, CausalModel):
        return "prefixes"
    if samples != "auto":
        return samples
    sparse = data.events_per_item < SPARSE
    return "prefixes" if sparse and data.mean_history <= SHORT else "windows"


def check_samples(model: MatchingModel, samples: str) -> None:
    """Raise ConfigError for an unknown name, and for windows of a model that is not causal."""
    check_known("samples", samples, SAMPLES)
    if samples == "windows" and not isinstance(model, CausalModel):
        raise ConfigError(
            f"samples={samples!r} needs a causal model (GRU4Rec, SASRec), which has a vector at "
            f"every position; {type(model).__name__} has none: use 'auto' or 'prefixes'"
        )


def check_own_batches(
    negatives: NegativeOptions | None, batch_size: int | None, samples: str
) -> None:
    """Raise ConfigError for what is given of batches that a DataLoader makes itself."""
    given = (negatives is not None, batch_size is not None, samples != "auto")
    names = ("negatives", "batch_size", "samples")
    if idle := [name for name, said in zip(names, given, strict=True) if said]:
        raise ConfigError(
            f"{', '.join(idle)}: ignored for a DataLoader, whose batches are its own (see README): "
            "leave out, or give data of load_interactions"
        )


def check_read_alike(trained: Encoded | None, data: MatchData) -> None:
    """Raise DataError for data whose ids or numbers mean something else than those trained on, and
    ConfigError for what is no such data.

    trained: None where nothing is known of that, as before a fit or of a DataLoader.
    """
    check_kind("data", data, MatchData, "data of load_interactions")
    if trained is None or (column := trained.read_otherwise(data.encoded)) is None:
        return
    raise DataError(
        f"{column} was fitted on other rows than in the data of training, so that its ids or "
        "numbers mean something else: load one table, and hold out by its split what is to be "
        "ranked (SplitOptions, split_column)"
    )


def training_loader(
    data: MatchData, model: MatchingModel, *, samples: str, batch_size: int | None, seed: int
) -> TrainLoader | WindowLoader:
    """samples: see training_samples. batch_size: see batch_rows."""
    if len(data.trained_items) < LEAST_ITEMS:
        raise DataError(
            f"{len(data.trained_items)} item has training events, and a target is learned beside "
            "others: see rechub check, and features.min_count"
        )
    data = readable(data, model)
    size = batch_rows(data, model, batch_size, samples)
    first_events = model.reads_users  # who knows nothing before an event learns nothing from it
    loader: TrainLoader | WindowLoader
    if training_samples(data, model, samples) == "windows":
        loader = data.window_loader(batch_size=size, seed=seed, first_events=first_events)
    else:
        least = 0 if first_events else 1
        loader = data.train_loader(batch_size=size, seed=seed, min_history=least)
    if not loader.num_rows:
        why = "there is no training event" if first_events else "no user has two training events"
        raise DataError(f"{why} of known items: see rechub check, and features.min_count")
    if loader.weight is not None and not bool((loader.weight > 0).any()):
        raise DataError("the weight of every event is 0: nothing would be learned")
    return loader


def readable(data: MatchData, model: MatchingModel) -> MatchData:
    """The data with histories, and so windows, no longer than a causal model reads."""
    if not isinstance(model, CausalModel) or data.options.max_len <= model.max_len:
        return data
    return replace(data, options=replace(data.options, max_len=model.max_len))


def batch_rows(
    data: MatchData, model: MatchingModel, batch_size: int | None, samples: str = "auto"
) -> int:
    """Rows a step, or windows.

    batch_size: None: 512 rows, 256 of a causal model; of windows at most 128, and as many as hold
    about 2048 targets, or so few (down to 256 targets) that an epoch has 256 steps. Long windows
    are many targets of one user: by their number alone an epoch would have few steps (MovieLens
    100k, SASRec, test Recall@50: 4 windows .493, 18 windows .456).
    """
    if batch_size is not None:
        return batch_size
    if training_samples(data, model, samples) == "prefixes":
        return PREFIXES if isinstance(model, CausalModel) else ROWS
    loader = data.window_loader(batch_size=1, seed=0, first_events=model.reads_users)
    targets = min(max(loader.num_rows // EPOCH_STEPS, LEAST_TARGETS), WINDOW_TARGETS)
    windows = targets * len(loader) // max(loader.num_rows, 1)
    return min(max(windows, 1), MAX_WINDOWS)
