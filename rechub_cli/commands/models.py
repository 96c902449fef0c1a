"""``rechub models``: what can be trained."""

from __future__ import annotations

from rechub_cli.errors import RechubError


def run(words: list[str]) -> None:
    """Print one row a registered model."""
    if words:
        raise RechubError(f"rechub models takes no words, found {words}")
    from rich.console import Console
    from rich.table import Table

    from rechub_cli.registry import list_models
    from rechub_cli.trainers.rules import MODES

    table = Table(box=None, pad_edge=False)
    for column in ("model", "modes", "needs", "interests", "paper"):
        table.add_column(column, overflow="fold")
    for entry in list_models():
        table.add_row(
            entry.name,
            ", ".join(MODES),
            "history" if entry.needs_history else "any user feature",
            entry.interests,
            entry.paper,
        )
    Console().print(table)
