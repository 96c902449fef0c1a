"""The README's table of recipes, made from recipes/*.json and from what others published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.readme import marked

ROOT = Path(__file__).resolve().parents[2]
METRICS = ("recall@10", "ndcg@10", "recall@50")
METRIC_TITLES = ("Recall@10", "NDCG@10", "Recall@50")
COLUMNS = ("recipe", *METRIC_TITLES, "seeds", "minutes", "MiB", "best published", "goal")
TITLES = {
    "ml_100k": "MovieLens 100k",
    "ml_1m": "MovieLens 1M, the SASRec paper's file",
    "amazon_beauty": "Amazon Beauty, the S3-Rec paper's file",
}
PUBLISHED = {
    ("ml_100k", "dssm"): ".0520 / .0234 / .210 [torch-rechub]",
    ("ml_100k", "youtube_dnn"): ".1029 / .0454 / .312 [torch-rechub]",
    ("ml_100k", "mind"): ".0392 / .0192 / .199 [torch-rechub]",
    ("ml_100k", "comirec_sa"): ".0414 / .0179 / .173 [torch-rechub]",
    ("ml_1m", "sasrec"): ".3159 / .1857 / – [Klenitskiy 2023, 3000 negatives]",
    ("ml_1m", "gru4rec"): ".2811 / .1648 / – [Klenitskiy 2023]",
    ("ml_1m", "youtube_dnn"): "– / – / .337 [nearby protocol]",
    ("ml_1m", "dssm"): "– / – / .356 [nearby protocol]",
    ("ml_1m", "mind"): ".156 / – / .440 [nearby protocol]",
    ("ml_1m", "comirec_sa"): "– / – / .436 [nearby protocol]",
    ("ml_1m", "comirec_dr"): "– / – / .436 [nearby protocol]",
    ("amazon_beauty", "sasrec"): ".0974 / .0588 / – [public run, d 256, 3 blocks]",
    ("amazon_beauty", "gru4rec"): ".0283 / .0137 / – [Zhou 2020]",
}
"""Recall@10 / NDCG@10 / Recall@50 of the best figure known for a model; a dash where none is."""
OTHERS = {
    "ml_1m": "Others on this file: SASRec with BCE .2500 / .1341, BERT4Rec .2843 / .1537, SASRec "
    "with the full softmax .3152 / .1821 [Klenitskiy 2023]; gSASRec .3003 / .1726 [Petrov 2023]; "
    "EASE on the last 20 events .2214 / .1209 [measured for this project].",
    "amazon_beauty": "Others on this file: SASRec .0605 / .0318 [Zhou 2020]; BSARec .1008 / .0611 "
    "[Shin 2024]; sequential rules with W = H = 5, decay .6: .0818 / .0519 [ours].",
}
GOALS = {
    ("ml_100k", "dssm"): "– / – / .36",
    ("ml_100k", "youtube_dnn"): "– / – / .44",
    ("ml_100k", "mind"): "– / – / .38",
    ("ml_1m", "sasrec"): ".325 / .190 / –",
    ("ml_1m", "gru4rec"): ".297 / .172 / –",
    ("ml_1m", "youtube_dnn"): "– / – / .54",
    ("ml_1m", "dssm"): "– / – / .50",
    ("ml_1m", "mind"): "– / – / .51",
    ("ml_1m", "comirec_sa"): "– / – / .54",
    ("ml_1m", "comirec_dr"): "– / – / .51",
    ("amazon_beauty", "sasrec"): ".101 / .0615 / –",
    ("amazon_beauty", "gru4rec"): ".085 / .053 / –",
    ("amazon_beauty", "youtube_dnn"): "4 x popularity",
}
SOURCES = """Klenitskiy 2023: Klenitskiy and Vasilev, Turning Dross Into Gold Loss, RecSys 2023.
Petrov 2023: Petrov and Macdonald, gSASRec, RecSys 2023. Shin 2024: BSARec, AAAI 2024. Zhou 2020:
S3-Rec, CIKM 2020. torch-rechub: version 0.9.0 at its best settings, run by us, trained on all but
the last item, ties by expected rank. Nearby protocol: published on MovieLens 1M under another
preprocessing or split, so an order of magnitude only. Public run: no paper."""


def load() -> dict[str, dict[str, Any]]:
    """Recipe -> its recorded figures, of those that have some."""
    files = sorted((ROOT / "recipes").glob("*.json"))
    return {file.stem: json.loads(file.read_text()) for file in files}


def render(recorded: dict[str, dict[str, Any]]) -> str:
    """The README's part between the marks."""
    lines = []
    for data, title in TITLES.items():
        rows = {n: r for n, r in recorded.items() if r["config"]["data.name"] == data}
        if rows:
            lines += [f"**{title}**", "", *_table(data, rows), ""]
            lines += [OTHERS[data], ""] if data in OTHERS else []
    machines = sorted({row["machine"] for row in recorded.values()})
    measured = f"Measured on {', '.join(machines)}, other jobs beside it."
    return marked("recipes", [*lines, f"{measured} Sources. {SOURCES}"])


def _table(data: str, rows: dict[str, dict[str, Any]]) -> list[str]:
    lines = [_line(*COLUMNS), _line(*["---"] * len(COLUMNS))]
    for name, row in rows.items():
        model = row["config"]["model.name"]
        cells = [_figure(row["metrics"][m], len(row["seeds"])) for m in METRICS]
        cells += [len(row["seeds"]), f"{row['minutes']:.1f}", row["peak_mib"]]
        cells += [PUBLISHED.get((data, model), ""), GOALS.get((data, model), "")]
        lines.append(_line(f"`{name}`", *cells))
    baselines = next(iter(rows.values()))["baselines"]
    for title, key in (("popularity", "popularity"), ("sequential rules", "sequential_rules")):
        part = "the floor" if key == "popularity" else "the reference"
        figures = [f"{baselines[key][m]:.4f}" for m in METRICS]
        lines.append(_line(f"{title}, {part}", *figures, *[""] * 5))
    return lines


def _figure(row: dict[str, float], seeds: int) -> str:
    return f"{row['mean']:.4f}" + (f" ± {row['std']:.4f}" if seeds > 1 else "")


def _line(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"
