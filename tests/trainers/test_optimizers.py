"""Lazy optimizers: only the rows that a step looks up are touched, and those as the dense ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from rechub_cli import DSSM, SparseFeature
from rechub_cli.data.dataset import MatchData
from rechub_cli.errors import ConfigError
from rechub_cli.trainers.match_trainer import MatchTrainer
from rechub_cli.trainers.optimizers import build_optimizer, build_schedule
from rechub_cli.trainers.options import MOST_UPDATED, NegativeOptions, choose_optimizer
from rechub_cli.trainers.rules import LAZY
from tests.contract.conftest import make_model


class Tiny(nn.Module):
    """A table of 6 rows behind a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(6, 3)
        self.linear = nn.Linear(3, 1)

    def forward(self, rows: Tensor) -> Tensor:
        out: Tensor = self.linear(self.table(rows)).square().sum()
        return out


def trained(name: str, steps: list[list[int]], *, lr: float = 0.1) -> Tiny:
    model = Tiny()
    optimizer = build_optimizer(model, {"name": name, "lr": lr})
    for rows in steps:
        optimizer.zero_grad()
        model(torch.tensor(rows)).backward()
        optimizer.step()
    return model


EVERY = [[0, 1, 2, 3, 4, 5, 5]] * 4


def test_lazy_adam_is_adam_where_every_row_is_looked_up() -> None:
    lazy, dense = trained("lazy_adam", EVERY), trained("adam", EVERY)
    for a, b in zip(lazy.parameters(), dense.parameters(), strict=True):
        assert_close(a, b, atol=1e-6, rtol=1e-5)


def test_a_row_that_is_not_looked_up_rests() -> None:
    """Dense Adam goes on moving it by its momentum."""
    steps = [[0, 1], [1, 2], [1, 2]]
    start = Tiny().table.weight
    for name in LAZY:
        moved = trained(name, steps).table.weight
        once = trained(name, steps[:1]).table.weight
        assert_close(moved[3:], start[3:], atol=0, rtol=0)
        assert_close(moved[0], once[0], atol=0, rtol=0)
        assert not torch.equal(moved[1], once[1])
    assert not torch.equal(trained("adam", steps).table.weight[0], once[0])


def test_rowwise_adagrad_by_hand() -> None:
    """Two steps of gradient (3, 4): mean squares 12.5 and 25, so 3 / 3.5355 and 3 / 5 times lr."""
    model = nn.Sequential(nn.Embedding(3, 2))
    model[0].weight.data.zero_()
    optimizer = build_optimizer(model, {"name": "rowwise_adagrad", "lr": 0.5})
    for _ in range(2):
        optimizer.zero_grad()
        (model(torch.tensor([1])) * torch.tensor([3.0, 4.0])).sum().backward()
        optimizer.step()
    step = 0.5 * (1 / 12.5**0.5 + 1 / 25**0.5)
    assert_close(model[0].weight.data, torch.tensor([[0, 0], [-3 * step, -4 * step], [0, 0]]))


def test_a_row_looked_up_twice_is_one_step() -> None:
    model = nn.Sequential(nn.Embedding(2, 1))
    model[0].weight.data.zero_()
    optimizer = build_optimizer(model, {"name": "rowwise_adagrad", "lr": 1.0})
    model(torch.tensor([0, 0])).sum().backward()
    optimizer.step()
    # The gradient is 2, its accumulator 4.
    assert model[0].weight[0].item() == pytest.approx(-1.0)


@pytest.mark.parametrize("name", LAZY)
def test_a_schedule_reaches_both_parts(name: str) -> None:
    model = Tiny()
    optimizer = build_optimizer(model, {"name": name, "lr": 0.1})
    schedule = build_schedule(optimizer, name="linear", warmup_steps=0, total_steps=1)
    model(torch.tensor([0])).backward()
    optimizer.step()
    schedule.step()
    before = [p.clone() for p in model.parameters()]
    model(torch.tensor([0])).backward()
    optimizer.step()  # at rate 0
    for a, b in zip(model.parameters(), before, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lr": -1.0}, "lr=-1.0 is no number >= 0"),
        ({"lr": "0.1"}, "lr='0.1' is no number >= 0"),
        ({"lr": 0.1, "weight_decay": "0"}, "weight_decay='0' is no number >= 0"),
    ],
)
def test_what_is_no_rate_is_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_optimizer(Tiny(), wrong)


@pytest.mark.parametrize("name", LAZY)
def test_weight_decay_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="weight_decay=0.1"):
        build_optimizer(Tiny(), {"name": name, "lr": 0.1, "weight_decay": 0.1})


def test_the_tables_are_dense_again_under_another_optimizer() -> None:
    model = Tiny()
    build_optimizer(model, {"name": "lazy_adam", "lr": 0.1})
    build_optimizer(model, {"name": "adam", "lr": 0.1})
    model(torch.tensor([0])).backward()
    assert not model.table.weight.grad.is_sparse  # type: ignore[union-attr]


@pytest.mark.parametrize("name", LAZY)
@pytest.mark.parametrize("model", ["dssm", "sasrec"])
def test_models_learn_by_it(model: str, name: str, tiny: MatchData) -> None:
    """Side features, pooled columns and histories all have sparse gradients."""
    trainer = MatchTrainer(
        make_model(model, tiny),
        "pairwise",
        {"name": name, "lr": 0.02},
        8,
        batch_size=16,
        patience=None,
        negatives=NegativeOptions("uniform", 8),
    )
    history = trainer.fit(tiny)
    assert history[-1].loss < 0.8 * history[0].loss


UNIFORM, MANY = NegativeOptions("uniform", 8), MOST_UPDATED + 1


@pytest.mark.parametrize(
    ("params", "negatives", "num_items", "clip_norm", "name"),
    [
        ({"name": "auto"}, UNIFORM, MANY, None, "lazy_adam"),
        ({}, UNIFORM, MANY, None, "lazy_adam"),
        ({"name": "auto"}, NegativeOptions("auto"), MANY, None, "lazy_adam"),
        ({"name": "auto"}, NegativeOptions("in_batch"), MANY, None, "lazy_adam"),
        ({"name": "auto"}, UNIFORM, MOST_UPDATED, None, "adam"),
        ({"name": "auto"}, NegativeOptions("full"), MANY, None, "adam"),
        ({"name": "auto"}, UNIFORM, MANY, 1.0, "adam"),
        ({"name": "auto", "weight_decay": 0.1}, UNIFORM, MANY, None, "adam"),
        ({"name": "adam"}, UNIFORM, MANY, None, "adam"),
        ({"name": "sgd"}, UNIFORM, MANY, None, "sgd"),
        ({"name": "auto"}, UNIFORM, MANY, "gpu", "adam"),
    ],
)
def test_auto_is_lazy_where_many_items_are_not_looked_up(
    params: dict[str, Any],
    negatives: NegativeOptions,
    num_items: int,
    clip_norm: float | str | None,
    name: str,
) -> None:
    given, on_cpu = {"lr": 0.1, **params}, clip_norm != "gpu"
    clip = clip_norm if isinstance(clip_norm, float) else None
    found = choose_optimizer(given, negatives, num_items=num_items, clip_norm=clip, on_cpu=on_cpu)
    assert found == {**given, "name": name}


@pytest.mark.parametrize("most", [1, 1000])
@pytest.mark.parametrize("params", [{"lr": 0.02}, {"lr": 0.02, "name": "auto"}])
def test_training_follows_auto(
    params: dict[str, Any], most: int, tiny: MatchData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights are those of the optimizer that it stands for."""
    monkeypatch.setattr("rechub_cli.trainers.options.MOST_UPDATED", most)
    named = {"lr": 0.02, "name": "lazy_adam" if most == 1 else "adam"}
    found = []
    for given in (params, named):
        model = make_model("dssm", tiny)
        MatchTrainer(model, "pairwise", given, 2, batch_size=16, negatives=UNIFORM).fit(tiny)
        found.append(model.state_dict())
        assert all(m.sparse == (most == 1) for m in model.modules() if isinstance(m, nn.Embedding))
    for name, tensor in found[0].items():
        assert torch.equal(tensor, found[1][name]), name


def test_auto_heeds_the_loop_s_clipping(tiny: MatchData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rechub_cli.trainers.options.MOST_UPDATED", 1)
    model = make_model("dssm", tiny)
    MatchTrainer(model, "pairwise", n_epoch=1, negatives=UNIFORM, clip_norm=1.0).fit(tiny)
    assert not any(m.sparse for m in model.modules() if isinstance(m, nn.Embedding))


def test_a_loader_s_rows_are_trained_by_adam(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rechub_cli.trainers.options.MOST_UPDATED", 1)
    user, item = ([SparseFeature(name, vocab_size=9, embed_dim=4)] for name in "ui")
    tower = {"dims": [4]}
    model = DSSM(user, item, user_params=tower, item_params=tower)
    rows = {"u": torch.arange(8), "i": torch.arange(8)}
    MatchTrainer(model, "pairwise", n_epoch=1).fit([(rows, torch.ones(8))])
    assert not any(m.sparse for m in model.modules() if isinstance(m, nn.Embedding))


def test_what_a_lazy_optimizer_cannot_do_is_refused(tiny: MatchData) -> None:
    lazy = {"name": "lazy_adam", "lr": 0.1}
    with pytest.raises(ConfigError, match=r"clip_norm=1.0 is not possible .*lazy_adam"):
        MatchTrainer(make_model("dssm", tiny), "listwise", lazy, clip_norm=1.0)
    with pytest.raises(ConfigError, match="sampler='auto' may look up every item"):
        MatchTrainer(make_model("dssm", tiny), "listwise", lazy).fit(tiny)
