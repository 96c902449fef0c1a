"""What a run prints: its data before, its table and files after."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from rechub_cli.commands.tables import (
    plain_table,
    print_interests,
    print_queries,
    shown_metrics,
)
from rechub_cli.config.schema import RunConfig
from rechub_cli.data.dataset import HELD_OUT, MatchData
from rechub_cli.evaluation.unseen import seen_targets
from rechub_cli.run_warning import RunWarning

LONG_RANKING = 10**8
"""Scores whose ranking takes seconds."""
MANY_SEEN = 0.01
"""From this share of test targets on that their users have seen, a run says so."""


def print_data(console: Console, data: MatchData, *, mask_seen: bool) -> None:
    """What was read, what was assumed, which features each tower has."""
    sizes = data.interactions
    console.print(
        f"data: {sizes.num_users:,} users, {sizes.num_items:,} items, {sizes.num_events:,} events; "
        f"{len(data.split.test):,} test queries ({data.split.protocol['method']})"
    )
    if data.about.identity is not None:
        console.print(
            f"interactions: {data.about.identity.name}, SHA-256 {data.about.identity.sha256}"
        )
    shares = (f"{name} {_share(*data.unseen_targets(name))}" for name in HELD_OUT)
    console.print(f"targets never seen in training: {', '.join(shares)}")
    seen, asked = seen_targets(data, "test")
    if mask_seen and seen >= MANY_SEEN * max(asked, 1):
        console.print(
            f"note: {seen / asked:.0%} of test targets stand in their query's own history, and "
            "evaluation.mask_seen=true leaves out all else that stands there, which flatters the "
            "figures: where items come again, set evaluation.mask_seen=false"
        )
    print_notes(console, (*data.about.notes, *data.split.notes, *data.encoded.notes))
    for side, features in (
        ("user", data.encoded.schema.user_features),
        ("item", data.encoded.schema.item_features),
    ):
        console.print(f"{side} features: {', '.join(f.name for f in features)}")
    console.print(f"density: {data.events_per_item:,.0f} training events an item")


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} ({part / max(whole, 1):.1%})"


def print_ranking(console: Console, data: MatchData) -> None:
    """Say that a long ranking follows, of which nothing else is seen."""
    queries, items = (sum(len(data.queries(name)) for name in HELD_OUT), len(data.catalogue))
    if queries * items >= LONG_RANKING:
        console.print(
            f"ranking {items:,} items for {queries:,} queries, by the model, then by popularity "
            "and sequential rules"
        )


def print_result(
    console: Console,
    config: RunConfig,
    metrics: dict[str, Any],
    files: list[Path],
    warnings: Sequence[RunWarning],
) -> None:
    """The table of model, floor, reference (and ceiling), the files written, and the warnings."""
    top_k = config.evaluation.top_k
    shown = shown_metrics(top_k)
    rules, floor = (metrics["baselines"][n] for n in ("sequential_rules", "popularity"))
    rows = [(config.model.name, metrics), ("popularity (floor)", floor)]
    rows.append(("sequential rules (reference)", rules))
    if "oracle" in metrics:
        rows.append(("oracle (ceiling)", metrics["oracle"]))
    table = plain_table("test, full ranking", "", *shown)
    for name, row in rows:
        table.add_row(name, *(f"{row['test'][key]:.4f}" for key in shown))
    console.print(table)
    gap = metrics["test"][shown[-1]] - rules["test"][shown[-1]]
    console.print(f"gap to the reference: {gap:+.4f} {shown[-1]}")
    print_queries(console, "test", metrics["queries"]["test"])
    if "interests" in metrics:
        print_interests(console, "test", metrics["interests"])
    print_files(console, files)
    for warning in warnings:
        console.print(str(warning))


def print_notes(console: Console, notes: Sequence[str]) -> None:
    for note in notes:
        console.print(f"note: {note}")


def print_files(console: Console, files: Sequence[Path]) -> None:
    for file in files:
        console.print(f"wrote {file}")
