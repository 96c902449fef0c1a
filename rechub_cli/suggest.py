"""Nearest names, for error messages."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"``, or an empty string where nothing is near."""
    names = list(allowed)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if not near:
        folded = {name.lower(): name for name in names}
        near = [folded[word.lower()]] if word.lower() in folded else []
    return f" Did you mean {near[0]!r}?" if near else ""


def named_by(name: str, required: Collection[str]) -> str:
    """Return ``" KEY says what it is called."``, where ``required`` holds the names' keys."""
    key = required.get(name) if isinstance(required, Mapping) else None
    return f" {key} says what it is called." if key else ""
