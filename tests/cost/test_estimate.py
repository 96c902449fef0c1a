"""``rechub estimate``: figures, refusals, and nothing written."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from pathlib import Path

import pytest

from rechub_cli.commands import estimate
from rechub_cli.cost import steps
from rechub_cli.cost.steps import RankingCost
from rechub_cli.data.dataset import MatchData
from rechub_cli.errors import GateError
from rechub_cli.progress import result_console
from rechub_cli.registry import list_models
from rechub_cli.runs import load_data, make_model
from tests.cli.process import rechub
from tests.cost.conftest import MakeConfig

ROWS = (
    "parameters",
    "weights",
    "optimizer state (adam)",
    "gradients",
    "activations and batch",
    "memory at its peak",
    "a step",
    "a validation",
    "an epoch",
    "data, rankings, baselines, export",
    "the run",
)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "SECONDS", 0.0)


def printed(text: str) -> dict[str, str]:
    """The table's rows by name."""
    pattern = re.compile(rf"^({'|'.join(map(re.escape, ROWS))})  +(\S.*?) *$", re.MULTILINE)
    return dict(pattern.findall(text))


@pytest.mark.parametrize("name", [entry.name for entry in list_models()])
def test_figures_of_every_model(
    name: str, config: MakeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = config(f"model={name}", "trainer.n_epoch=100")
    estimate.run(made, tmp_path)
    rows = printed(capsys.readouterr().out)
    assert tuple(rows) == ROWS
    for text in rows.values():
        assert float(re.search(r"[\d.]+", text.replace(",", ""))[0]) > 0  # type: ignore[index]
    count = sum(p.numel() for p in make_model(made, load_data(made)[0]).parameters())
    assert rows["parameters"] == f"{count:,}"
    assert "for 100 epochs; patience=5 may end it from" in rows["the run"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("epoch", "patience", "text"),
    [
        (10.0, None, "65.0 s for 6 epochs"),
        (10.0, 5, "65.0 s for 6 epochs"),
        (10.0, 2, "at most 65.0 s for 6 epochs; patience=2 may end it from 35.0 s on"),
        (100.0, None, "10.1 min for 6 epochs"),
        (3600.0, None, "6.0 h for 6 epochs"),
    ],
)
def test_the_run_is_epochs_and_the_rest(epoch: float, patience: int | None, text: str) -> None:
    assert estimate.whole_run(epoch, 5.0, n_epoch=6, patience=patience) == text


def test_annealing_follows_where_patience_ends() -> None:
    text = "at most 65.0 s for 6 epochs; patience=2 may end it from 55.0 s on"
    assert estimate.whole_run(10.0, 5.0, n_epoch=6, patience=2, more=2) == text


@pytest.mark.parametrize(("schedule", "least"), [("auto", "8.0 s"), ("constant", "6.0 s")])
def test_the_epochs_of_a_falling_rate_are_counted(
    schedule: str,
    least: str,
    config: MakeConfig,
    demo: MatchData,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of 50 epochs of a second, of which patience may leave 6, and annealing adds 2."""
    made = config("model=youtube_dnn", "trainer.n_epoch=50", f"trainer.schedule.name={schedule}")
    cost = steps.StepCost(steps_per_epoch=1, seconds=[1.0], cores=1.0)
    seconds = estimate.Seconds(0.0, 0.0, 0.0, 0.0, 0.0)
    model = make_model(made, demo)
    estimate.print_estimate(result_console(), made, model, cost, seconds, limit=1, optimizer="adam")
    assert f"patience=5 may end it from {least} on" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(("cores", "busy"), [(0.4, True), (0.9, False), (1.9, False)])
def test_a_busy_machine_is_said(
    cores: float,
    busy: bool,
    config: MakeConfig,
    demo: MatchData,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = config("model=youtube_dnn")
    cost = steps.StepCost(steps_per_epoch=1, seconds=[1.0], cores=cores)
    seconds = estimate.Seconds(1.0, 1.0, 2.0, 1.0, 1.0)
    model = make_model(made, demo)
    estimate.print_estimate(result_console(), made, model, cost, seconds, limit=1, optimizer="adam")
    assert ("this process 40% of one core" in capsys.readouterr().out) is busy


def test_an_epoch_validates_on_fewer_queries_than_the_end(
    config: MakeConfig, demo: MatchData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "ranking_cost", lambda measure, data: RankingCost(1.0, 0.5))
    made = config("model=youtube_dnn", "trainer.valid_queries=3", "export=none")
    uneven = copy.copy(demo)
    uneven.split = replace(demo.split, valid=demo.split.valid.spread(5))
    test = len(demo.split.test)
    found = estimate.other_seconds(made, make_model(made, demo), uneven, tmp_path, load=7.0)
    assert (found.load, found.validation) == (7.0, 2.0)
    assert found.final == 3.0 + 1.0 + 0.5 * (test - 1)
    assert found.baselines == 1.0 + 0.5 * (test + 5 - 1)


def limit_left(monkeypatch: pytest.MonkeyPatch, num_bytes: int) -> None:
    """Leave so much memory beside what the process has."""
    monkeypatch.setattr(estimate, "peak_bytes", lambda: 0)
    monkeypatch.setattr(estimate, "memory_limit", lambda device: num_bytes)


def test_weights_that_do_not_fit_are_refused_before_they_are_made(
    config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_left(monkeypatch, 150_000)
    made = config("model=youtube_dnn", "model.embed_dim=64")
    with pytest.raises(GateError) as caught:
        estimate.run(made, tmp_path)
    text = str(caught.value)
    width = int(re.search(r"model.embed_dim=(\d+) would fit", text)[1])  # type: ignore[index]
    assert 1 <= width < 64
    fits = config("model=youtube_dnn", f"model.embed_dim={width}")
    data, _ = load_data(fits)
    estimate.check_tables(fits, data, estimate.pick_device("cpu"))


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (["model.embed_dim=1000000"], r"About model.embed_dim=(15625|7812) would fit$"),
        (["model.user_params.dims=[9000000,128]"], r"layers.0.weight, 9,000,000 x \d+: lower what"),
    ],
)
def test_the_setting_that_makes_weights_large_is_named(
    words: list[str], advice: str, config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Layers between vectors grow with the square of their width."""
    limit_left(monkeypatch, 2**34)
    made = config("model=youtube_dnn", *words)
    with pytest.raises(GateError, match=advice):
        estimate.check_tables(made, load_data(made)[0], estimate.pick_device("cpu"))


def test_a_batch_beyond_the_data_is_tried_as_what_it_would_be(
    config: MakeConfig, demo: MatchData, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def spy(*words: object, batch_size: int, **options: object) -> None:
        seen.append(batch_size)
        raise GateError("enough")

    monkeypatch.setattr(estimate, "step_cost", spy)
    made = config("model=dssm", "trainer.batch_size=200000000")
    with pytest.raises(GateError, match="enough"):
        estimate.check_batch(made, make_model(made, demo), demo, estimate.pick_device("cpu"))
    assert seen == [int(demo.train_counts.sum()) // estimate.PROBE]


def test_a_batch_that_does_not_fit_is_refused_before_it_is_tried(
    config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_left(monkeypatch, 400_000)
    seen: list[int] = []
    real = estimate.step_cost

    def spy(*words: object, **options: int) -> steps.StepCost:
        seen.append(options.get("batch_size", 0))
        return real(*words, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(estimate, "step_cost", spy)
    made = config("model=dssm", "trainer.batch_size=512", "model.embed_dim=16",
                  "model.user_params.dims=[16]", "model.item_params.dims=[16]")  # fmt: skip
    with pytest.raises(GateError, match=r"trainer.batch_size=\d+ would fit"):
        estimate.run(made, tmp_path)
    assert seen == [32]


def test_the_steps_have_batches_of_all_lengths(
    config: MakeConfig, demo: MatchData, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[MatchData] = []
    monkeypatch.setattr(estimate, "measure_steps", lambda make, model, data, **_: seen.append(data))
    made = config("model=dssm")
    estimate.step_cost(made, make_model(made, demo), demo)
    assert seen[0].train_loader(batch_size=4, seed=0).spread


def test_the_command_prints_and_writes_nothing(tmp_path: Path) -> None:
    words = ("data.num_users=60", "data.num_items=40", "trainer.threads=1")
    done = rechub("estimate", "model=dssm", *words, cwd=tmp_path)
    assert tuple(printed(done.stdout)) == ROWS
    assert list(tmp_path.iterdir()) == []


def test_wrong_settings_are_refused_as_in_train(tmp_path: Path) -> None:
    done = rechub("estimate", "model=mnd", "trainer.n_epochs=3", cwd=tmp_path, code=2)
    assert "2 problems" in done.stderr
    done = rechub("estimate", "data=table", "data.path=none.csv", cwd=tmp_path, code=2)
    assert "none.csv" in done.stderr
    assert list(tmp_path.iterdir()) == []
