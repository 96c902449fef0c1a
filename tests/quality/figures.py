"""The recorded figures and the tables of the README that are made from them.

`make quality` writes ``figures.json``; ``python -m tests.quality.figures`` puts its tables into
README.md, and a fast test holds the two together.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from tests.readme import marked, write

HERE = Path(__file__).resolve().parent
FILE = HERE / "figures.json"
MODES = ("listwise", "pairwise", "pointwise")
METRICS = ("recall@10", "ndcg@10", "recall@50")
Figures = dict[str, Any]


def load() -> Figures:
    content: Figures = json.loads(FILE.read_text()) if FILE.exists() else {}
    return content


def record(part: str, key: str, value: Any) -> None:
    """Put one figure into the file."""
    figures = load()
    figures.setdefault(part, {})[key] = value
    FILE.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")


def runs_of(figures: Figures, model: str, mode: str) -> list[Figures]:
    return [
        r for r in figures.get("ml_100k", {}).values() if (r["model"], r["mode"]) == (model, mode)
    ]


def _spread(values: list[float]) -> str:
    text = f"{mean(values):.4f}"
    return text if len(values) < 2 else f"{text} ± {stdev(values):.4f}"


def ml_100k_table(figures: Figures) -> list[str]:
    lines = [
        "| model | mode | seeds | Recall@10 | NDCG@10 | Recall@50 | seconds | peak MiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    models = sorted({r["model"] for r in figures["ml_100k"].values()})
    for model in models:
        for mode in MODES:
            runs = runs_of(figures, model, mode)
            if runs:
                cells = [_spread([r["test"][m] for r in runs]) for m in METRICS]
                seconds, peak = (max(r[k] for r in runs) for k in ("seconds", "peak_mib"))
                star = "" if all(r.get("annealed") for r in runs) else " *"
                lines.append(
                    f"| {model} | {mode}{star} | {len(runs)} | {' | '.join(cells)} | "
                    f"{seconds:.0f} | {peak} |"
                )
    some = next(iter(figures["ml_100k"].values()))
    floor, reference = "popularity, the floor", "sequential rules, the reference"
    for name, row in ((floor, "popularity"), (reference, "sequential_rules")):
        cells = [f"{some[row][m]:.4f}" for m in METRICS]
        lines.append(f"| {name} | | | {' | '.join(cells)} | | |")
    return lines


def demo_table(figures: Figures) -> list[str]:
    lines = [
        "| data.seed | popularity | sequential rules | mind | oracle | gap closed |",
        "|---|---|---|---|---|---|",
    ]
    for seed, row in sorted(figures["demo"].items()):
        cells = [row[k] for k in ("popularity", "sequential_rules", "mind", "oracle")]
        lines.append(f"| {seed} | {' | '.join(f'{c:.4f}' for c in cells)} | {row['closed']:.2f} |")
    return lines


def interests_table(figures: Figures) -> list[str]:
    lines = [
        "| model | width | interests | worlds | Recall@10 | NDCG@10 |",
        "|---|---|---|---|---|---|",
    ]
    rows: dict[tuple[str, int, int], list[dict[str, float]]] = {}
    for name, row in figures.get("interests", {}).items():
        model, width, number, _ = name.split()
        rows.setdefault((model, int(width), int(number)), []).append(row["test"])
    for (model, width, number), found in sorted(rows.items()):
        cells = [_spread([row[m] for row in found]) for m in ("recall@10", "ndcg@10")]
        lines.append(f"| {model} | {width} | {number} | {len(found)} | {' | '.join(cells)} |")
    return lines


def render(figures: Figures) -> str:
    """The README's part between the marks."""
    return marked(
        "figures",
        [
            "MovieLens 100k, leave-one-out, full ranking, seen items masked, ties against the "
            "model, shipped defaults; mean (± standard deviation) over seeds, largest seconds "
            f"and memory of a whole run on {figures['machine']['cores']}, other jobs beside it:",
            "",
            *ml_100k_table(figures),
            "",
            "\\* measured at a constant rate, the default of before.",
            "",
            "The demo, NDCG@10, MIND with shipped defaults, on worlds that were not looked at in "
            "its design (gap: from sequential rules to the oracle):",
            "",
            *demo_table(figures),
            "",
            "One interest against four, of vectors of 16 and of 128, on the first of these worlds, "
            "whose users have several by construction, else shipped defaults:",
            "",
            *interests_table(figures),
        ],
    )


if __name__ == "__main__":
    write(render(load()))
