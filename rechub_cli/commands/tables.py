"""The tables that ``train`` and ``evaluate`` both print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def shown_cut_off(top_k: Sequence[int]) -> int:
    """The cut-off of what is printed at one only: the second, where there is one."""
    return top_k[min(1, len(top_k) - 1)]


def shown_metrics(top_k: Sequence[int]) -> list[str]:
    """What tables show: recall at every cut-off, NDCG at one."""
    return [f"recall@{k}" for k in top_k] + [f"ndcg@{shown_cut_off(top_k)}"]


def plain_table(title: str, *columns: str) -> Table:
    """A table without lines: the first column to the left, numbers to the right."""
    table = Table(title=title, box=None, pad_edge=False, title_justify="left")
    for position, name in enumerate(columns):
        table.add_column(name, justify="right" if position else "left")
    return table


def print_interests(console: Console, split: str, figures: dict[str, Any]) -> None:
    """What each interest does, as ``interest_figures`` counts it."""
    num, k = figures["num_interests"], figures["k"]
    table = plain_table(f"interests, {split}", "share of", *(str(n + 1) for n in range(num)))
    for name, key in (("targets won", "target_share"), (f"top {k}", "top_share")):
        table.add_row(name, *(f"{share:.3f}" for share in figures[key]))
    console.print(table)
    console.print(
        f"{figures['queries_with_several']:,} of {figures['queries']:,} queries have several "
        f"interests ({_figure(figures['interests_per_query'])} on average); effective number "
        f"{_figure(figures['effective_wins'])} by targets, "
        f"{_figure(figures['effective_in_list'])} in a top {k}; effective rank "
        f"{_figure(figures['effective_rank'])}; cosine {_figure(figures['cosine'], digits=3)}"
    )


def print_queries(console: Console, split: str, counts: dict[str, int]) -> None:
    """What was done with the queries that have no history, where there are such."""
    if counts["empty_history"]:
        console.print(
            f"note: {counts['empty_history']:,} of {counts['queries']:,} {split} queries have no "
            f"known item before them: {counts['ranked_by_features']:,} are ranked by user "
            f"features, {counts['ranked_by_popularity']:,} by popularity"
        )


def print_rows(console: Console, title: str, rows: list[dict[str, Any]], shown: list[str]) -> None:
    """Some columns of rows of counts and metrics; the first names the row."""
    table = plain_table(title, *shown)
    for row in rows:
        table.add_row(*(_cell(row[key]) for key in shown))
    console.print(table)


def _figure(value: float | None, digits: int = 2) -> str:
    """A dash where there was nothing to count."""
    return "–" if value is None else f"{value:.{digits}f}"


def _cell(value: float | str) -> str:
    return f"{value:.4f}" if isinstance(value, float) else f"{value}"
