"""What a run warns of, for people and for programs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RunWarning:
    """name: stable, for programs. text: what was found, what it means, what to do."""

    name: str
    text: str

    def __str__(self) -> str:
        return f"warning: {self.name}: {self.text}"
