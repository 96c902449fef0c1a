"""The README's tables are those of the recorded figures."""

from __future__ import annotations

from tests.quality.figures import README, load, render


def test_the_readme_shows_the_recorded_figures() -> None:
    assert render(load()) in README.read_text()
