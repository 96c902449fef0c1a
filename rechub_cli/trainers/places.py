"""Where a run's checkpoints are, for those who need no torch."""

from __future__ import annotations

from pathlib import Path


def find_checkpoint(folder: Path) -> Path | None:
    """Where the checkpoint ``folder`` can be read; None where there is none."""
    # A kill between the two renames of ``save_checkpoint`` leaves the old one aside.
    aside = folder.with_name(f".{folder.name}.old")
    return next((place for place in (folder, aside) if place.exists()), None)
