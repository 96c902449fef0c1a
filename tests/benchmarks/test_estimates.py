"""How the check of estimates reads what the command prints; nothing is timed here."""

from __future__ import annotations

from pathlib import Path

import pytest

from rechub_cli.commands import estimate
from rechub_cli.config.schema import RunConfig
from rechub_cli.registry import list_models
from tests.benchmarks import estimates
from tests.benchmarks.synthetic import shipped
from tests.readme import README


def test_the_readme_shows_the_recorded_estimates() -> None:
    recorded = estimates.load()
    assert estimates.render(recorded) in README.read_text(), "python -m tests.benchmarks.estimates"
    assert [row["model"] for row in recorded["rows"]] == [entry.name for entry in list_models()]


@pytest.mark.parametrize(
    ("epoch", "patience", "seconds"),
    [(0.2, None, 0.7), (10.0, None, 60.5), (100.0, 2, 606.0), (3_600.0, None, 6 * 3_600.0)],
)
def test_the_run_s_seconds_are_those_that_are_printed(
    epoch: float, patience: int | None, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(config: RunConfig, scratch: Path) -> None:
        rest = 0.5 if epoch > 1 else -0.5
        print("an epoch  3.0 s, 4 steps and a validation")
        print("the run  " + estimate.whole_run(epoch, rest, n_epoch=6, patience=patience))

    monkeypatch.setattr(estimate, "run", run)
    assert estimates.estimated(shipped()) == pytest.approx(seconds, rel=0.01)
