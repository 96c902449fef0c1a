"""README's generated parts, each between two marks of its name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"


def marked(name: str, lines: Iterable[str]) -> str:
    """The part with its marks."""
    return "\n".join([f"<!-- {name}: start -->", *lines, f"<!-- {name}: end -->"])


def write(part: str) -> None:
    """Put a part of ``marked`` in the place of the one of its name."""
    start, *_, end = part.splitlines()
    head, rest = README.read_text().split(start)
    README.write_text(head + part + rest.split(end)[1])
