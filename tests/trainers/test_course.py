"""When training ends, and when its rate falls."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rechub_cli.data.dataset import MatchData
from rechub_cli.errors import ConfigError
from rechub_cli.trainers.course import Course
from rechub_cli.trainers.match_trainer import MatchTrainer
from rechub_cli.trainers.optimizers import anneal_schedule, build_schedule
from rechub_cli.trainers.reporter import EpochResult, Reporter
from rechub_cli.trainers.rules import ANNEAL_EPOCHS, ANNEAL_RATE, choose_schedule
from tests.contract.conftest import make_model


def told(course: Course, values: list[float] | None, *, epochs: int = 20) -> list[str]:
    """What follows each epoch whose monitor has these values; None: nothing is validated."""
    found: list[str] = []
    for epoch in range(1, epochs + 1):
        best = None if values is None else values.index(max(values[:epoch])) + 1
        result = EpochResult(epoch, 1.0, 1.0, 1.0, best_epoch=best)
        if course.falls(result):
            found.append("falls")
        elif course.ends(result):
            return [*found, "ends"]
        else:
            found.append("on")
    return found


RISING_THEN_FLAT = [1.0, 2.0, 3.0, *[2.0] * 17]


@pytest.mark.parametrize(
    ("n_epoch", "patience", "schedule", "values", "expected", "reason"),
    [
        (4, None, "constant", RISING_THEN_FLAT, ["on"] * 3 + ["ends"], "all 4 epochs done"),
        (9, 2, "linear", RISING_THEN_FLAT, ["on"] * 4 + ["ends"], "no better hr@5 for 2 epochs"),
        (9, 2, "constant", None, ["on"] * 8 + ["ends"], "all 9 epochs done"),
        (
            9, 2, "anneal", RISING_THEN_FLAT, ["on"] * 4 + ["falls", "on", "ends"],
            "the rate fell to 0 within 2 epochs",
        ),
        (
            6, 2, "anneal", RISING_THEN_FLAT, ["on"] * 3 + ["falls", "on", "ends"],
            "the rate fell to 0 within 2 epochs",
        ),
        (
            5, None, "anneal", None, ["on"] * 2 + ["falls", "on", "ends"],
            "the rate fell to 0 within 2 epochs",
        ),
    ],
)  # fmt: skip
def test_what_follows_an_epoch(
    n_epoch: int,
    patience: int | None,
    schedule: str,
    values: list[float] | None,
    expected: list[str],
    reason: str,
) -> None:
    course = Course(n_epoch, patience, "hr@5", schedule)
    assert (told(course, values), course.reason) == (expected, reason)


def test_the_rate_falls_to_0_from_its_share() -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=2.0)

    def rates(schedule: torch.optim.lr_scheduler.LambdaLR, steps: int) -> list[float]:
        found = []
        for _ in range(steps):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        return found

    before = build_schedule(optimizer, name="anneal", warmup_steps=2, total_steps=9)
    assert rates(before, 5) == [1.0, 2.0, 2.0, 2.0, 2.0]
    fallen = [2.0 * ANNEAL_RATE * share for share in (1, 0.75, 0.5, 0.25, 0, 0)]
    assert rates(anneal_schedule(optimizer, 4), 6) == pytest.approx(fallen)


class Heard(Reporter):
    """Rates and weights at each step, and from which epoch the rate falls."""

    def __init__(self) -> None:
        self.trainer: Any = None
        self.fell: list[int] = []
        self.ends: list[tuple[int, dict[str, torch.Tensor]]] = []

    def anneal(self, best_epoch: int, *, epochs: int) -> None:
        assert epochs == ANNEAL_EPOCHS
        self.fell.append(best_epoch)
        weights = {k: v.clone() for k, v in self.trainer.model.state_dict().items()}
        assert all(torch.equal(weights[k], v) for k, v in dict(self.ends)[best_epoch].items())

    def epoch(self, result: EpochResult) -> None:
        weights = {k: v.clone() for k, v in self.trainer.model.state_dict().items()}
        self.ends.append((result.epoch, weights))


def test_annealing_goes_on_from_the_best_epoch(
    tiny: MatchData, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard, fallen = Heard(), []

    def noted(optimizer: torch.optim.Optimizer, total_steps: int | None) -> Any:
        fallen.append(total_steps)
        return anneal_schedule(optimizer, total_steps)

    monkeypatch.setattr("rechub_cli.trainers.updates.anneal_schedule", noted)
    heard.trainer = MatchTrainer(
        make_model("dssm", tiny), 2, {"lr": 0.05}, 40, batch_size=16, patience=3,
        monitor="ndcg@5", schedule="anneal", reporter=heard,
    )  # fmt: skip
    history = heard.trainer.fit(tiny)
    values = [r.metrics["ndcg@5"] for r in history]
    before = values[:-ANNEAL_EPOCHS]
    assert heard.fell == [before.index(max(before)) + 1]
    assert len(before) == heard.fell[0] + 3
    assert fallen == [ANNEAL_EPOCHS * len(tiny.train_loader(batch_size=16, seed=0))]
    assert heard.trainer.evaluate(tiny, split="valid")["ndcg@5"] == max(values)


def test_annealing_needs_epochs_before_it(tiny: MatchData) -> None:
    with pytest.raises(ConfigError, match=r"\(anneal\) needs n_epoch of 3 or more"):
        MatchTrainer(make_model("dssm", tiny), 2, n_epoch=2, schedule="anneal")


@pytest.mark.parametrize(
    ("name", "n_epoch", "sized", "chosen"),
    [
        ("auto", 10, True, "anneal"),
        ("auto", 9, True, "constant"),
        ("auto", 90, False, "constant"),
        ("linear", 2, True, "linear"),
        ("constant", 9, True, "constant"),
    ],
)
def test_auto_anneals_where_it_can(name: str, n_epoch: int, sized: bool, chosen: str) -> None:
    assert choose_schedule(name, n_epoch=n_epoch, sized=sized) == chosen


def test_a_training_is_annealed_unless_told_otherwise(tiny: MatchData) -> None:
    fell = []
    options: list[dict[str, Any]] = [{}, {"schedule": "constant"}]
    for more in options:
        heard = Heard()
        model = make_model("dssm", tiny)
        heard.trainer = MatchTrainer(model, 2, n_epoch=10, patience=None, reporter=heard, **more)
        history = heard.trainer.fit(tiny)
        values = [result.metrics["ndcg@10"] for result in history[:8]]
        assert len(history) == 10
        fell.append([] if not heard.fell else [heard.fell[0] == values.index(max(values)) + 1])
    assert fell == [[True], []]
    with pytest.raises(ConfigError, match="Did you mean 'cosine'"):
        MatchTrainer(make_model("dssm", tiny), 2, n_epoch=3, schedule="cosin").fit(tiny)
