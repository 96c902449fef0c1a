"""What is said of the data, and of what follows from them, before a run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from rich.console import Console

from rechub_cli.commands import check
from rechub_cli.commands.choices import choices, print_choices
from rechub_cli.commands.printout import print_ranking
from rechub_cli.config.trainer_schema import TrainerUnion
from rechub_cli.data.dataset import MatchData
from rechub_cli.progress import result_console
from tests.benchmarks.synthetic import shipped
from tests.contract.conftest import make_model


@pytest.mark.parametrize(
    ("last", "mask_seen", "told"),
    [("a", "true", True), ("d", "true", False), ("a", "false", False)],
)
def test_targets_seen_before_are_told(
    last: str, mask_seen: str, told: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"u{n},{item}" for n in range(4) for item in f"abc{last}"]
    (tmp_path / "log.csv").write_text("\n".join(["user_id,item_id", *rows]) + "\n")
    words = ("data=table", f"data.path={tmp_path / 'log.csv'}", f"evaluation.mask_seen={mask_seen}")
    check.run(shipped(*words))
    said = " ".join(capsys.readouterr().out.split())
    assert ("of test targets stand in their query's own history" in said) == told


def test_names_are_printed_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name may look like markup, or like an emoji."""
    rows = [f"u{n},{item}" for n in range(4) for item in "abcd"]
    (tmp_path / "log.csv").write_text("\n".join(["user_id,item_id", *rows]) + "\n")
    names = ("speed[/h]", "price[usd]", ":heart:")
    items = [f"{item},{n},{n % 2},{n % 3}" for n, item in enumerate("abcd")]
    (tmp_path / "items.csv").write_text("\n".join([",".join(["item_id", *names]), *items]) + "\n")
    side = f"data.items.path={tmp_path / 'items.csv'}"
    check.run(shipped("data=table", f"data.path={tmp_path / 'log.csv'}", side))
    said = capsys.readouterr().out
    assert [name for name in names if name not in said] == []


def said_of(data: MatchData, options: TrainerUnion, *, device: str = "cpu") -> str:
    """What a DSSM's run on the data says of its choices."""
    console = Console(width=1000)
    chosen = choices(data, make_model("dssm", data), options, torch.device(device))
    with console.capture() as said:
        print_choices(console, data, options, chosen)
    return said.get()


@pytest.mark.parametrize("asked", ["5", "100000", "null"])
def test_a_validation_of_some_queries_is_told(asked: str, tiny: MatchData) -> None:
    said = said_of(tiny, shipped("model=dssm", f"trainer.valid_queries={asked}").trainer)
    told = f"validation: 5 of {len(tiny.split.valid)} queries pick the best epoch"
    assert (told in said, "validation:" in said) == (asked == "5", asked == "5")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), True),
        (("trainer.negatives.sampler=full",), False),
        (("trainer.optimizer_params.name=lazy_adam",), False),
        (("trainer.clip_norm=1",), False),
    ],
)
def test_a_lazy_optimizer_of_auto_is_told(
    words: tuple[str, ...], told: bool, tiny: MatchData, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = ("trainer.negatives.sampler=uniform", "trainer.negatives.num_negatives=4")
    monkeypatch.setattr("rechub_cli.trainers.options.MOST_UPDATED", 1)
    words = words if "trainer.negatives.sampler=full" in words else (*drawn, *words)
    options = shipped("model=dssm", *words).trainer
    assert ("optimizer: lazy_adam, which" in said_of(tiny, options)) == told
    assert "optimizer:" not in said_of(tiny, options, device="cuda")


@pytest.mark.parametrize("most", [1, 1000])
def test_drawn_negatives_of_auto_are_told(
    most: int, tiny: MatchData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rechub_cli.trainers.options.MOST_COMPARED", most)
    said = said_of(tiny, shipped("model=dssm").trainer)
    expected = (
        f"negatives: a step's targets and 2,048 uniform ones, of {len(tiny.trained_items)} items"
    )
    assert (expected in said) == (most == 1)
    assert not said_of(tiny, shipped("model=dssm", "trainer.negatives.sampler=full").trainer)


@pytest.mark.parametrize("least", [1, 10**9])
def test_a_long_ranking_is_announced(
    least: int, tiny: MatchData, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rechub_cli.commands.printout.LONG_RANKING", least)
    print_ranking(result_console(), tiny)
    told = "ranking 20 items for 24 queries, by the model, then by popularity and sequential rules"
    assert (told in " ".join(capsys.readouterr().out.split())) == (least == 1)
