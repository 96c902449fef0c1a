"""Write the figures of recipes from finished runs, and the README's table from the figures.

    python -m tests.recipes.record RUN [RUN ...]   run folders of one or several recipes, one a seed
    python -m tests.recipes.record --renew         after a new setting that changes no figure
    python -m tests.recipes.record                 only the table

A changed default moves a recipe away from its figures: measure it again and record the runs. Only
where the change cannot alter a figure (a new option that is off) is ``--renew`` honest; it prints
what it takes over.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import hydra

from rechub_cli.config.locate import conf_dir
from rechub_cli.config.origin import Origin
from rechub_cli.config.resolve import load_config, resolve
from rechub_cli.config.schema import RunConfig
from rechub_cli.recipes import differences, expectation, settings
from rechub_cli.shell.diagnose import plain
from tests.readme import write
from tests.recipes.table import METRICS, load, render

FOLDER = Path(__file__).resolve().parents[2] / "recipes"
LEAST_TOLERANCE = 0.05
"""Share of the mean; a single seed has no spread of its own."""


def recipes() -> list[Path]:
    return sorted(FOLDER.glob("*.yaml"))


def compose(recipe: str, *overrides: str) -> RunConfig:
    """A recipe's config, composed as the command does."""
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = hydra.compose("train", overrides=[f"recipe={recipe}", *overrides])
    return resolve(RunConfig, plain(cfg), origin=Origin())


def recipe_settings(recipe: Path) -> dict[str, Any]:
    return settings(compose(recipe.stem).model_dump(mode="json"))


def spread(values: list[float]) -> dict[str, float]:
    """Mean, standard deviation over seeds (0 of one), and how far a run may be from the mean."""
    centre, std = mean(values), stdev(values) if len(values) > 1 else 0.0
    return {"mean": centre, "std": std, "tolerance": max(3 * std, LEAST_TOLERANCE * centre)}


def summarise(runs: list[Path], config: dict[str, Any]) -> dict[str, Any]:
    """What a recipe's JSON file holds. runs: one a seed. config: the recipe's settings."""
    metrics = [_json(run / "metrics.json") for run in runs]
    manifests = [_json(run / "run.json") for run in runs]
    seeds = [manifest["fingerprint"]["seed"] for manifest in manifests]
    data = {m["interactions"]["sha256"] for m in manifests if m["interactions"]["published"]}
    if len(set(seeds)) < len(runs) or len(data) != 1:
        raise SystemExit(
            f"{runs[0]} ...: give one run a seed, all on one published data set; seeds {seeds}, "
            f"interactions {[m['interactions']['name'] for m in manifests]}"
        )
    if odd := {w["name"] for m in manifests for w in m["warnings"]} - {"recipe_shortfall"}:
        raise SystemExit(f"{runs[0]} ...: warned of {', '.join(sorted(odd))}; see to that first")
    measured, baselines = [m["measured"] for m in manifests], metrics[0]["baselines"]
    return {
        "config": config,
        "interactions": data.pop(),
        "protocol": protocol_name(manifests[0]["protocol"]),
        "seeds": sorted(seeds),
        "metrics": {m: spread([row["test"][m] for row in metrics]) for m in METRICS},
        "baselines": {n: {m: row["test"][m] for m in METRICS} for n, row in baselines.items()},
        "epochs": max(m["epochs"] for m in measured),
        "minutes": round(max(m["total_seconds"] for m in measured) / 60, 1),
        "peak_mib": max(m["peak_memory_mib"] for m in measured),
        "machine": f"{os.cpu_count()} {platform.machine()} cores",
    }


def protocol_name(protocol: dict[str, Any]) -> str:
    """The protocol of a run's run.json in words."""
    seen = "masked" if protocol["mask_seen"] else "kept"
    return (
        f"{protocol['split']['method'].replace('_', '-')}, {protocol['ranking']} ranking, seen "
        f"items {seen}, ties {protocol['ties']} the model"
    )


def recipe_of(run: Path) -> Path:
    """The recipe whose settings a run has; of one that is older than a setting, what held then."""
    found = settings(load_config(run / "config.yaml").model_dump(mode="json"))
    gaps = {recipe: differences(found, recipe_settings(recipe)) for recipe in recipes()}
    for recipe, different in gaps.items():
        if not different:
            return recipe
    nearest = min(gaps, key=lambda recipe: len(gaps[recipe]))
    raise SystemExit(f"{run}: no recipe has its settings; {nearest.stem} but for {gaps[nearest]}")


def record(runs: list[Path]) -> None:
    """Write the JSON file of each recipe among the runs."""
    groups: dict[Path, list[Path]] = {}
    for run in runs:
        groups.setdefault(recipe_of(run), []).append(run)
    for recipe, its_runs in groups.items():
        _write(recipe, summarise(its_runs, recipe_settings(recipe)))


def renew() -> None:
    """Take over the settings of today into every recorded recipe, without new figures."""
    for recipe in recipes():
        recorded, today = expectation(recipe), recipe_settings(recipe)
        if recorded is not None:
            for gap in differences(today, recorded["config"]):
                print(f"{recipe.stem}: {gap}")
            _write(recipe, {**recorded, "config": today})


def _write(recipe: Path, content: dict[str, Any]) -> None:
    recipe.with_suffix(".json").write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def _json(file: Path) -> Any:
    return json.loads(file.read_text())


if __name__ == "__main__":
    renew() if sys.argv[1:] == ["--renew"] else record([Path(word) for word in sys.argv[1:]])
    write(render(load()))
