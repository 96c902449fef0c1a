"""The README's tables are those of the recorded figures."""

from __future__ import annotations

from tests.quality.figures import load, render
from tests.readme import README


def test_the_readme_shows_the_recorded_figures() -> None:
    assert render(load()) in README.read_text()
