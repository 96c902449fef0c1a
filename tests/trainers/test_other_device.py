"""Training on a device that is not the CPU, where no test has a GPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close
from torch.utils.data import DataLoader

from rechub_cli.commands import train
from rechub_cli.data.dataset import MatchData
from rechub_cli.models.matching.base import MatchingModel
from rechub_cli.trainers import objectives
from rechub_cli.trainers.match_trainer import MatchTrainer
from rechub_cli.trainers.options import NegativeOptions
from tests.benchmarks.synthetic import shipped
from tests.contract.conftest import FORMS, make_model
from tests.trainers.pretend_device import DEVICE, pretend_device
from tests.trainers.test_match_trainer import quick_model, rows


def trained(model: MatchingModel, data: Any, mode: str, **options: Any) -> list[Any]:
    trainer = MatchTrainer(model, mode, n_epoch=2, patience=None, **options)
    losses = [result.loss for result in trainer.fit(data)]
    figures = trainer.evaluate(data) if isinstance(data, MatchData) else {}
    return [*losses, *figures.values()]


@pytest.mark.parametrize("mode", ["pointwise", "pairwise", "listwise"])
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_every_model_trains_there_as_on_the_cpu(
    form: tuple[str, dict[str, Any]], mode: str, tiny: MatchData, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, changes = form
    monkeypatch.setattr(objectives, "FEW_NUMBERS", 0)  # the kernels of large steps
    expected = trained(make_model(name, tiny, **changes), tiny, mode)
    model = make_model(name, tiny, **changes)
    with pretend_device(monkeypatch):
        found = trained(model, tiny, mode)
    assert next(model.parameters()).device == DEVICE
    assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sampler", ["uniform", "popularity", "in_batch", "mixed", "hard"])
@pytest.mark.parametrize("name", ["mind", "sasrec"])
def test_every_sampler_draws_for_it(
    name: str, sampler: str, tiny: MatchData, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"num_negatives": None if sampler == "in_batch" else 5}
    if sampler == "hard":
        options["pool_size"] = 10
    negatives = NegativeOptions(sampler, **options)
    expected = trained(make_model(name, tiny), tiny, "listwise", negatives=negatives)
    model = make_model(name, tiny)
    with pretend_device(monkeypatch):
        found = trained(model, tiny, "listwise", negatives=negatives)
    assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["pointwise", "listwise"])
def test_rows_of_a_loader_train_there(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = list(DataLoader(rows(1.0), batch_size=16))
    losses = []
    for pretended in (False, True):
        torch.manual_seed(0)
        model = quick_model()
        for module in model.modules():
            if hasattr(module, "p"):
                module.p = 0.0
        if pretended:
            with pretend_device(monkeypatch):
                losses.append(trained(model, loader, mode))
        else:
            losses.append(trained(model, loader, mode))
    assert_close(losses[1], losses[0], rtol=1e-4, atol=1e-5)


def test_a_whole_run_there_ends_as_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checks before and after training, checkpoints, figures of interests, lists of baselines."""
    own = ["model=mind", "model.input_dropout=0", "model.user_params.dropout=0", "export=none"]
    size = ["data.num_users=60", "data.num_items=40", "trainer.n_epoch=1", "trainer.batch_size=64"]
    config = shipped("data=demo", *own, *size)
    train.run(config, tmp_path / "cpu")
    with pretend_device(monkeypatch):
        train.run(config, tmp_path / "there")
    expected, found = (
        json.loads((tmp_path / name / "metrics.json").read_text())["test"]
        for name in ("cpu", "there")
    )
    assert found == pytest.approx(expected, rel=1e-6)
