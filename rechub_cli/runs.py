"""The run directory: what a run leaves, and how it is read again."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rechub_cli.config.data_schema import DemoData, OrderedSplit
from rechub_cli.config.resolve import load_config, to_yaml, with_absolute_paths
from rechub_cli.config.schema import RunConfig
from rechub_cli.data.dataset import MatchData, SplitOptions, prepare
from rechub_cli.data.demo import DemoWorld
from rechub_cli.data.feature_options import FeatureOptions
from rechub_cli.errors import ConfigError, DataError, RechubError
from rechub_cli.fingerprint import fingerprint
from rechub_cli.models.matching.base import MatchingModel
from rechub_cli.registry import build_model, find_model
from rechub_cli.sources import load_tables
from rechub_cli.trainers.checkpoint import load_checkpoint
from rechub_cli.trainers.device import choose_matmul
from rechub_cli.trainers.places import find_checkpoint

CONFIG, OVERRIDES, METRICS, EPOCHS, MANIFEST = (
    "config.yaml",
    "overrides.yaml",
    "metrics.json",
    "metrics.jsonl",
    "run.json",
)

ZONE = re.compile(r"(Z|[+-]\d\d:?\d\d)$")


@dataclass(frozen=True)
class Run:
    """A run, read again. fingerprint: of the run, or, where it was not finished, of what was read.

    world: the demo's law, where its data are the demo's. notes: what to know of the run.
    """

    folder: Path
    config: RunConfig
    data: MatchData
    model: MatchingModel
    world: DemoWorld | None
    fingerprint: dict[str, Any]
    notes: tuple[str, ...] = ()


def load_data(config: RunConfig) -> tuple[MatchData, DemoWorld | None]:
    """Read, split and encode the data of a config."""
    loaded = load_tables(config.data)
    features = config.features
    data = prepare(
        loaded.tables,
        split=split_options(config, loaded.tables.about.timestamp_unit),
        features=FeatureOptions(
            user_id=features.user_id,
            exclude=tuple(features.exclude),
            types=features.types or {},
            max_len=features.max_len,
            history_columns="auto"
            if features.history_columns == "auto"
            else tuple(features.history_columns),
            min_count=features.min_count,
            oov_share=features.oov_share,
            pooling=features.pooling,
        ),
        embed_dim=config.model.embed_dim,
        seed=config.seed,
    )
    return data, loaded.world


def split_options(config: RunConfig, unit: str | None) -> SplitOptions:
    """The split of a config; an ISO time is brought to the data's own unit."""
    if isinstance(config.data, DemoData):
        return SplitOptions(config.data.split.method)
    split = config.data.split
    time = None if isinstance(split, OrderedSplit) else split.time
    if isinstance(time, str):
        time = _iso_time(time, unit)
    return SplitOptions(split.method, time, split.valid_share, split.test_share)


def _iso_time(text: str, unit: str | None) -> int:
    """ISO text in a unit since 1970; without a zone it is UTC, as the data's is."""
    if unit is None:
        raise ConfigError(f"data.split.time={text!r} needs timestamps of a known unit")
    zone = ZONE.search(text)
    try:
        time = np.datetime64(text[: zone.start()] if zone else text)
        if zone:  # numpy would warn of it, and knows none
            time -= np.timedelta64(datetime.strptime(zone[0], "%z").utcoffset() or timedelta())
        return int(time.astype(f"datetime64[{unit}]").astype(np.int64))
    except ValueError:
        raise ConfigError(
            f"data.split.time={text!r}; allowed: a number in the data's unit ({unit}), or ISO "
            "text such as 2024-05-31T12:00:00 or 2024-05-31T12:00:00+02:00"
        ) from None


def make_model(config: RunConfig, data: MatchData) -> MatchingModel:
    """Build the config's model, its weights drawn from the config's seed."""
    params = config.model.model_dump(exclude={"name", "embed_dim"})
    for name, value in find_model(config.model.name).dropouts(data.events_per_item).items():
        if name in params and params[name] is None:
            params[name] = value
    torch.manual_seed(config.seed)
    return build_model(
        config.model.name, data.encoded.schema, max_len=data.options.max_len, params=params
    )


def load_run(
    folder: Path | str,
    *,
    data_path: str | None = None,
    items_path: str | None = None,
    users_path: str | None = None,
) -> Run:
    """Read a run's config, data and best checkpoint.

    A run that was stopped, or that is still training, is read once it has finished an epoch; its
    ``notes`` say so, and nothing holds its data against those it was trained on.
    data_path, items_path, users_path: where the data and their side tables are now; None: where
    the run read them. The vocabulary is fitted on the same training rows again, so the data must
    be those of the run.

    Raises RechubError where the folder is no run, or where the data are not the run's.
    """
    folder = Path(folder)
    best = folder / "checkpoints" / "best"
    config = _moved(load_config(folder / CONFIG), data_path, items=items_path, users=users_path)
    stopped = not (folder / MANIFEST).exists() and find_checkpoint(best) is not None
    wanted = None if stopped else read_json(folder / MANIFEST)["fingerprint"]
    data, world = load_data(config)
    found = fingerprint(config, data)
    if wanted is not None and found["data"] != wanted["data"]:
        raise DataError(
            f"{folder}: the data are not those of the run (hash {found['data'][:12]}, then "
            f"{wanted['data'][:12]}): restore them, or name their place in data.path "
            "(data.items.path, data.users.path)"
        )
    model = make_model(config, data)
    choose_matmul()  # scores are then those of the run, to the bit
    epoch = load_checkpoint(best, model)["epoch"]
    model.eval()
    note = (
        f"the run was not finished ({MANIFEST} is missing): this is epoch {epoch}, the best it "
        "came to, and whether the data are still those it was trained on is not known"
    )
    return Run(folder, config, data, model, world, wanted or found, (note,) if stopped else ())


def _moved(config: RunConfig, path: str | None, **sides: str | None) -> RunConfig:
    """The config with its data, or tables of items or users, elsewhere; None: where they were.

    Raises ConfigError for what the run does not read.
    """
    changes: dict[str, Any] = {} if path is None else {"path": path}
    if path is not None and isinstance(config.data, DemoData):
        raise ConfigError("data.path: the run's data are the demo's, which have no path")
    for name, place in sides.items():
        if place is None:
            continue
        side = getattr(config.data, name, None)
        if side is None or side.path is None:
            raise ConfigError(
                f"data.{name}.path={place!r}: the run reads no such table: leave it out"
            )
        changes[name] = side.model_copy(update={"path": place})
    moved = config.data.model_copy(update=changes)
    return with_absolute_paths(config.model_copy(update={"data": moved}))


def read_json(path: Path) -> Any:
    """A JSON file. Raises RechubError where it is missing or damaged."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise RechubError(
            f"{path} is missing: {path.parent} is no finished run, nor has it finished an epoch"
        ) from None
    except ValueError as error:
        raise RechubError(f"{path} is damaged: {error}") from None


def write_json(path: Path, content: Any) -> None:
    """Write plain data whole: a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with fresh.open("w") as file:
        json.dump(content, file, indent=1, sort_keys=True)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)


def start_run(folder: Path, config: RunConfig, overrides: Sequence[str]) -> None:
    """Make the run's folder and save its config. Raises RechubError where a run is there."""
    if (folder / CONFIG).exists():
        raise RechubError(f"{folder} already holds a run: choose another hydra.run.dir")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(to_yaml(config))
    (folder / OVERRIDES).write_text("".join(f"- {json.dumps(o)}\n" for o in overrides))


def discard_run(folder: Path) -> None:
    """Take back what start_run wrote, for a run that is refused before its first step."""
    for name in (CONFIG, OVERRIDES):
        (folder / name).unlink(missing_ok=True)
