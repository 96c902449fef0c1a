"""Recipes: settings under a name (recipes/NAME.yaml) and the figures that they gave (NAME.json)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rechub_cli.config.later import LATER
from rechub_cli.config.schema import RunConfig
from rechub_cli.data.raw import Identity
from rechub_cli.run_warning import RunWarning

FREE = ("seed", "data.path", "trainer.threads", "trainer.device", "trainer.compile", "export")
"""What may differ in a run of a recipe: it changes the figures by chance at most."""
BEFORE = {f"{later.group}.{later.key}": later.value for later in LATER}
"""What held where figures recorded before a setting was there lack it."""
WITHIN, BELOW, ABOVE, NOT_COMPARED = "within", "below", "above", "not compared"


@dataclass(frozen=True)
class Verdict:
    """Whether a run of a recipe gave its figures.

    result: within, below (some metric), above, not compared. why: where it was not compared.
    figures: metric -> found, expected and tolerance.
    """

    name: str
    result: str
    why: str | None = None
    figures: dict[str, dict[str, float]] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.why is not None:
            return f"recipe {self.name}: not compared with recorded figures: {self.why}"
        figures = ", ".join(
            f"{name} {row['found']:.4f} ({row['expected']:.4f} ± {row['tolerance']:.4f})"
            for name, row in self.figures.items()
        )
        return f"recipe {self.name}: {self.result} the recorded range: {figures}"

    def shortfall(self) -> RunWarning | None:
        """The warning of a run below its recipe's figures."""
        return RunWarning("recipe_shortfall", str(self)) if self.result == BELOW else None


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted key -> value of each setting that figures follow from. config: plain values.

    What is null is left out, as if the setting were not there: it is off, or follows from the model
    and the data. It is kept where a missing one means something else.
    """
    return {
        key: value
        for key, value in _flat(config)
        if (value is not None or key in BEFORE)
        and not any(f"{key}.".startswith(f"{free}.") for free in FREE)
    }


def differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """``key=found (expected)`` of each setting that differs; a missing one is as BEFORE, else
    ``nothing``."""
    return [
        f"{key}={_text(found, key)} ({_text(expected, key)})"
        for key in {**expected, **found}
        if _text(found, key) != _text(expected, key)
    ]


def expectation(recipe: Path) -> dict[str, Any] | None:
    """The recorded figures beside a recipe's YAML file, None where there are none yet."""
    file = recipe.with_suffix(".json")
    return json.loads(file.read_text()) if file.is_file() else None


def judge(
    recipe: Path, config: RunConfig, identity: Identity | None, metrics: Mapping[str, float]
) -> Verdict:
    """Hold a run of a recipe against its recorded figures.

    recipe: its YAML file. identity: of the data. metrics: of the test queries.
    """
    expected = expectation(recipe)
    why = _not_comparable(expected, config, identity)
    if expected is None or why is not None:
        return Verdict(recipe.stem, NOT_COMPARED, why)
    figures = {
        name: {"found": metrics[name], "expected": row["mean"], "tolerance": row["tolerance"]}
        for name, row in expected["metrics"].items()
    }
    gaps = [(f["found"] - f["expected"]) / f["tolerance"] for f in figures.values()]
    result = BELOW if min(gaps) < -1 else ABOVE if max(gaps) > 1 else WITHIN
    return Verdict(recipe.stem, result, figures=figures)


def _not_comparable(
    expected: Mapping[str, Any] | None, config: RunConfig, identity: Identity | None
) -> str | None:
    if expected is None:
        return "none are recorded"
    changed = differences(settings(config.model_dump(mode="json")), expected["config"])
    if changed:
        return f"other settings: {', '.join(changed)}"
    if (identity.sha256 if identity else None) != expected["interactions"]:
        return f"other interactions: {identity.name if identity else 'made-up data'}"
    return None


def _flat(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _text(flat: Mapping[str, Any], key: str) -> str:
    found = {**BEFORE, **flat}
    return json.dumps(found[key]) if key in found else "nothing"
