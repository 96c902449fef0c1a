"""README shows the recorded curves; nothing is timed here."""

from __future__ import annotations

from typing import Any

from tests.benchmarks.curves import CURVES
from tests.benchmarks.curves_table import TITLES, load, render
from tests.readme import README


def point(curve: str, size: int, matmuls: float, peak_mib: int | None = 100) -> dict[str, Any]:
    return {"curve": curve, "size": size, "seconds": 9.0, "matmuls": matmuls, "peak_mib": peak_mib}


def recorded(largest: dict[str, Any]) -> dict[str, Any]:
    points = [point(curve, 1, 2.0) for curve in TITLES if curve not in ("items", "threads")]
    points += [point("threads", 1, 1.0, None), point("threads", 2, 0.61, None)]
    points += [largest, point("items", 1_500, 2.0, 2_345)]
    machine = {"cores": 2, "processor": "x86_64", "torch": "2.13.0", "load_average": 1.5}
    return {"machine": machine, "points": points}


def test_the_readme_shows_the_recorded_curves() -> None:
    assert render(load()) in README.read_text(), "python -m tests.benchmarks.curves"


def test_every_curve_is_recorded_at_every_size() -> None:
    found = {(p["curve"], p["size"]) for p in load()["points"]}
    wanted = {(name, size) for name, (_, sizes) in CURVES.items() for size in sizes}
    assert found == wanted | {("threads", 1), ("threads", 2)}
    assert {name for name, _ in found} == set(TITLES)


def test_preparing_20_million_rows_took_less_than_1_5_gb() -> None:
    peaks = {p["size"]: p["peak_mib"] for p in load()["points"] if p["curve"] == "rows"}
    assert peaks[20_000_000] < 1.5e9 / 2**20


def test_times_are_told_against_the_smallest_size() -> None:
    text = render(recorded(point("items", 10_000_000, 5.0, 12_000)))
    assert "rowwise_adagrad | 1500 / 10M | 1 / 2.5 | 2,345 / 12,000 |" in text
    assert "YoutubeDNN | 1 / 2 | 1 / 0.61 |  |" in text
    assert "10M items x 64 train on 24 GB" in text
    assert "included | | yes | 12,000 |" in text
    assert "2 x86_64 cores, torch 2.13.0, other jobs beside it (load 1.5)" in text


def test_what_does_not_fit_is_said() -> None:
    assert "included | | no | 24,576 |" in render(recorded(point("items", 10_000, 5.0, 24_576)))
