"""The loop: best and last, patience, guards, accumulation, the quick start's rows."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

import rechub_cli
from rechub_cli.data.dataset import MatchData
from rechub_cli.errors import ConfigError, DataError, GateError, RechubError
from rechub_cli.evaluation.model_scores import evaluate_model
from rechub_cli.layers.dropout import Dropout
from rechub_cli.trainers.checkpoint import load_checkpoint
from rechub_cli.trainers.match_trainer import MatchTrainer
from rechub_cli.trainers.optimizers import build_optimizer, build_schedule
from rechub_cli.trainers.options import LossOptions, NegativeOptions, parse_mode
from tests.contract.conftest import make_model

Rows = list[tuple[dict[str, Tensor], Tensor]]


def quick_model() -> rechub_cli.DSSM:
    from rechub_cli import DSSM, DenseFeature, SparseFeature

    user_features = [
        SparseFeature("user_id", vocab_size=50, embed_dim=8),
        DenseFeature("age", embed_dim=1),
    ]
    item_features = [
        SparseFeature("item_id", vocab_size=30, embed_dim=8),
        SparseFeature("category", vocab_size=5, embed_dim=4),
    ]
    params = {"dims": [16, 8], "dropout": 0.2, "activation": "prelu"}
    return DSSM(
        user_features=user_features,
        item_features=item_features,
        temperature=0.02,
        user_params=params,
        item_params=params,
    )


def rows(label: float | None = None, n: int = 64) -> Rows:
    generator = torch.Generator().manual_seed(0)
    user = torch.randint(50, (n,), generator=generator)
    item = torch.randint(30, (n,), generator=generator)
    labels = ((user + item) % 2).float() if label is None else torch.full((n,), label)
    features = {"user_id": user, "age": user / 50, "item_id": item, "category": item % 5}
    return [({k: v[i] for k, v in features.items()}, labels[i]) for i in range(n)]  # type: ignore[misc]


@pytest.mark.parametrize(("mode", "label"), [(0, None), (1, 1.0), (2, 1.0), ("listwise", 1.0)])
def test_the_quick_start_trains_and_exports(
    mode: int | str, label: float | None, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    loader = DataLoader(rows(label), batch_size=16, shuffle=True)
    trainer = MatchTrainer(
        model=quick_model(), mode=mode, optimizer_params={"lr": 1e-2}, n_epoch=15
    )
    history = trainer.fit(loader)
    assert len(history) == 15
    assert history[-1].loss < 0.8 * history[0].loss
    for tower in ("user", "item"):
        trainer.export_onnx(tmp_path / f"{tower}.onnx", mode=tower)
        assert (tmp_path / f"{tower}.onnx").stat().st_size > 0


def test_the_loss_of_rows_is_the_one_that_is_asked_for() -> None:
    batch = next(iter(DataLoader(rows(1.0), batch_size=16)))
    bpr, bpr_max = (
        MatchTrainer(quick_model(), "pairwise", loss=loss, n_epoch=1)
        for loss in (None, LossOptions("bpr_max", bpreg=0.5 / 0.02**2))
    )
    bpr_max.model.load_state_dict(bpr.model.state_dict())
    first = [trainer.fit([batch])[0].loss for trainer in (bpr, bpr_max)]
    # The penalty alone is about half the mean square of scores, and these are large.
    assert first[1] > 2 * first[0]


@pytest.mark.parametrize("from_rows", [True, False])
def test_bpreg_means_the_same_at_every_temperature(from_rows: bool, tiny: MatchData) -> None:
    """With one negative a row the penalty is bpreg times the mean square of its product."""
    model = quick_model() if from_rows else make_model("dssm", tiny, similarity="cosine")
    data: Any = list(DataLoader(rows(1.0, n=2), batch_size=2)) if from_rows else tiny
    negatives = None if from_rows else NegativeOptions("uniform", 1)
    model.eval()  # no dropout

    def loss(bpreg: float) -> float:
        options = LossOptions("bpr_max", bpreg=bpreg)
        trainer = MatchTrainer(model, "pairwise", loss=options, negatives=negatives)
        return next(trainer._steps(data).losses(1))[0].item()

    found = []
    for temperature in (1.0, 0.05):
        model.temperature = temperature
        found.append(loss(2.0) - loss(0.0))
    assert 0 < found[0] < 2.0
    assert found[1] == pytest.approx(found[0], rel=1e-3)


@pytest.mark.parametrize("as_dict", [False, True])
def test_given_negatives_replace_the_other_rows(as_dict: bool) -> None:
    item_id, category = torch.randint(30, (4, 3)), torch.randint(5, (4, 3))
    batch, label = next(iter(DataLoader(rows(1.0), batch_size=4)))
    batch["neg_items"] = {"item_id": item_id, "category": category} if as_dict else item_id
    trainer = MatchTrainer(quick_model(), 1, n_epoch=1)
    if as_dict:
        assert len(trainer.fit([(batch, label)])) == 1
    else:
        with pytest.raises(RechubError, match="neg_items has item_id, and items have category too"):
            trainer.fit([(batch, label)])


@pytest.mark.parametrize(
    ("shapes", "named"),
    [
        (((4, 3), (4, 2)), "category has shape .4, 2."),
        (((5, 3), (5, 3)), "item_id has shape .5, 3."),
    ],
)
def test_negatives_of_another_shape_are_named(
    shapes: tuple[tuple[int, int], tuple[int, int]], named: str
) -> None:
    batch, label = next(iter(DataLoader(rows(1.0), batch_size=4)))
    columns = zip(("item_id", "category"), shapes, strict=True)
    batch["neg_items"] = {name: torch.zeros(shape, dtype=torch.int64) for name, shape in columns}
    with pytest.raises(RechubError, match=f"neg_items.{named}; needed: .4, N."):
        MatchTrainer(quick_model(), 1, n_epoch=1).fit([(batch, label)])


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16])
def test_weights_of_another_precision_are_refused(kind: torch.dtype) -> None:
    with pytest.raises(ConfigError, match=f"{str(kind).removeprefix('torch.')}; needed: float32"):
        MatchTrainer(quick_model().to(kind), 1, n_epoch=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f, y: ({k: v for k, v in f.items() if k != "age"}, y), "lacks the feature 'age'"),
        (lambda f, y: ({**f, "item_id": f["item_id"] + 30}, y), "item_id: ids .* allowed: 0..29"),
        (lambda f, y: (f, y.unsqueeze(1)), r"shape \[8, 1\]; needed: \[8\]"),
        (lambda f, y: (f, y * 2), "mode 0 .* allows 0..1"),
        (lambda f, y: (f, y / (torch.arange(8) != 3)), "labels run from .* to inf"),
        (lambda f, y: (f, y * torch.tensor([float("nan")] + [1.0] * 7)), "labels run from nan"),
        (lambda f, y: ({**f, "age": f["age"] / 0}, y), "age is .* in row 0 of a batch"),
        (
            lambda f, y: ({**f, "age": torch.tensor([1.0] * 7 + [float("nan")])}, y),
            "age is nan in row 7 of a batch",
        ),
        (lambda f, y: ({**f, "age": [1.0] * 8}, y), "a feature is a list"),
        (lambda f, y: f, "yields dict; needed"),
        (lambda f, y: ({"age": f["age"]}, y), "the batch lacks the feature 'item_id'; it has"),
        (lambda f, y: ({**f, "neg_items": f["item_id"]}, y), "neg_items, which mode 0 .pointwise"),
        (lambda f, y: ({**f, "item_id": f["item_id"].view(-1, 1)}, y), r"item_id: .* \[8, 1\]"),
        (
            lambda f, y: ({**f, "user_id": f["user_id"][:7]}, y),
            "user_id has 7 rows in a batch of 8",
        ),
    ],
)
def test_wrong_rows_are_named(change: object, message: str) -> None:
    batch = change(*next(iter(DataLoader(rows(1.0), batch_size=8))))  # type: ignore[operator]
    with pytest.raises(RechubError, match=message):
        MatchTrainer(quick_model(), 0, n_epoch=1).fit([batch])


def test_a_negative_label_is_refused_where_rows_are_positives() -> None:
    batch = next(iter(DataLoader(rows(0.0), batch_size=8)))
    with pytest.raises(RechubError, match="8 labels other than 1.*pairwise"):
        MatchTrainer(quick_model(), 1, n_epoch=1).fit([batch])


@pytest.mark.parametrize("mode", [3, "list", True, -1])
def test_wrong_modes_are_named(mode: int | str) -> None:
    with pytest.raises(ConfigError, match="allowed: 0 or 'pointwise'"):
        parse_mode(mode)


def test_best_epoch_is_kept_and_patience_ends_it(tiny: MatchData, tmp_path: Path) -> None:
    model = make_model("dssm", tiny)
    trainer = MatchTrainer(
        model,
        2,
        {"lr": 0.05},
        40,
        batch_size=16,
        patience=3,
        monitor="ndcg@5",
        schedule="constant",
        run_dir=tmp_path,
    )
    history = trainer.fit(tiny)
    values = [r.metrics["ndcg@5"] for r in history]
    best = values.index(max(values)) + 1
    assert len(history) < 40
    assert len(history) == best + 3
    assert trainer.evaluate(tiny, split="valid")["ndcg@5"] == max(values)
    again = make_model("dssm", tiny, seed=9)
    assert load_checkpoint(tmp_path / "checkpoints" / "best", again)["epoch"] == best
    for a, b in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert load_checkpoint(tmp_path / "checkpoints" / "last", again)["epoch"] == len(history)


@pytest.mark.parametrize("most", [3, None])
def test_epochs_are_validated_on_some_queries_and_the_end_on_all(
    most: int | None, tiny: MatchData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rechub_cli.trainers.options.MOST_VALIDATED", 4)
    asked = Counter[int]()

    def watched(model: Any, data: MatchData, *, split: str, **options: Any) -> Any:
        asked[len(data.queries(split))] += 1
        return evaluate_model(model, data, split=split, **options)

    monkeypatch.setattr("rechub_cli.trainers.match_trainer.evaluate_model", watched)
    trainer = MatchTrainer(make_model("dssm", tiny), 2, n_epoch=2, valid_queries=most)
    trainer.fit(tiny)
    assert asked == {most or 4: 2}
    trainer.evaluate(tiny, split="valid")
    assert asked == {most or 4: 2, len(tiny.split.valid): 1}
    assert len(tiny.split.valid) > 4


def test_a_second_fit_is_a_training_of_its_own(tiny: MatchData, tmp_path: Path) -> None:
    model = make_model("dssm", tiny)
    trainer = MatchTrainer(
        model, 2, {"lr": 0.05}, 6, batch_size=16, patience=None, monitor="ndcg@5", run_dir=tmp_path
    )
    first = trainer.fit(tiny)
    with torch.no_grad():  # so that no epoch of the second is as good as the first's best
        for parameter in model.parameters():
            parameter.normal_()
    trainer.n_epoch = 3
    second = trainer.fit(tiny)
    assert (len(first), len(second)) == (6, 3)
    assert trainer.history == second
    assert max(r.metrics["ndcg@5"] for r in second) < max(r.metrics["ndcg@5"] for r in first)
    best = max(second, key=lambda result: result.metrics["ndcg@5"])
    assert (second[-1].best, second[-1].best_epoch) == (best.metrics["ndcg@5"], best.epoch)
    assert trainer.evaluate(tiny, split="valid") == best.metrics
    state = load_checkpoint(tmp_path / "checkpoints" / "best", make_model("dssm", tiny))
    assert state["epoch"] == best.epoch


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_state(
    tiny: MatchData, tmp_path: Path
) -> None:
    model = make_model("youtube_dnn", tiny)
    trainer = MatchTrainer(model, 2, {"lr": 0.01}, 3, batch_size=16, run_dir=tmp_path)
    broken = make_model("youtube_dnn", tiny)
    with torch.no_grad():
        next(broken.parameters()).fill_(torch.nan)
    with pytest.raises(GateError, match=r"raise temperature\.$"):  # there is no checkpoint yet
        MatchTrainer(broken, 2, {"lr": 0.01}, 3, batch_size=16, run_dir=tmp_path).fit(tiny)
    trainer.fit(tiny)
    good = (tmp_path / "checkpoints" / "last" / "model.safetensors").read_bytes()
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    with pytest.raises(GateError, match=r"loss is nan at epoch 1, step 1.*checkpoints/best"):
        trainer.fit(tiny)
    assert (tmp_path / "checkpoints" / "last" / "model.safetensors").read_bytes() == good


def test_unknown_monitor_is_named(tiny: MatchData) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'ndcg@10'"):
        MatchTrainer(make_model("dssm", tiny), 2, n_epoch=1, monitor="ndgc@10")


def test_checkpoints_of_another_training_are_kept(tiny: MatchData, tmp_path: Path) -> None:
    trainer = MatchTrainer(make_model("dssm", tiny), 2, n_epoch=1, run_dir=tmp_path)
    trainer.fit(tiny)
    trainer.fit(tiny)  # its own go on
    with pytest.raises(ConfigError, match="holds another training's checkpoints"):
        MatchTrainer(make_model("dssm", tiny), 2, n_epoch=1, run_dir=tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_epoch": 0}, "n_epoch=0 is no integer >= 1"),
        ({"batch_size": 0}, "batch_size=0 is no integer >= 1"),
        ({"patience": 0}, "patience=0 is no integer >= 1"),
        ({"valid_queries": 0}, "valid_queries=0 is no integer >= 1"),
        ({"accumulate": 0}, "accumulate=0 is no integer >= 1"),
        ({"accumulate": 2.5}, "accumulate=2.5 is no integer >= 1"),
        ({"threads": 0}, "threads=0 is no integer in the allowed 1..1024"),
        ({"warmup_steps": -1}, "warmup_steps=-1 is no integer >= 0"),
        ({"clip_norm": 0.0}, "clip_norm=0.0 is no number above 0"),
        ({"clip_norm": -1.0}, "clip_norm=-1.0 is no number above 0"),
        ({"clip_norm": float("nan")}, "clip_norm=nan is no number above 0"),
        ({"clip_norm": "1"}, "clip_norm='1' is no number above 0"),
        ({"n_epoch": None}, "n_epoch=None is no integer >= 1"),
        ({"patience": True}, "patience=True is no integer >= 1"),
        ({"top_k": iter((5, 10))}, "top_k=.* is no sequence"),
        ({"seed": -1}, r"seed=-1 is no integer in the allowed 0\.\.2147483647"),
        ({"top_k": (0, 10)}, r"top_k=\(0, 10\) is no sequence of integers in the allowed 1\.\."),
        ({"top_k": ()}, r"top_k=\(\) is no sequence"),
        ({"top_k": 10}, "top_k=10 is no sequence"),
        ({"top_k": (10**11,)}, "top_k=.* is no sequence"),
        ({"seed": -1, "accumulate": 0}, "accumulate=0 .*\nseed=-1 "),
        ({"mask_seen": "no"}, "mask_seen='no' is neither True nor False"),
        ({"compile": ""}, "compile='' is neither True nor False"),
        ({"mode": 1, "loss": "bpr_max"}, "loss is a str; needed: LossOptions"),
        ({"mode": 1, "negatives": "uniform"}, "negatives is a str; needed: NegativeOptions"),
    ],
)
def test_what_a_loop_cannot_work_with_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MatchTrainer(quick_model(), **options)


def test_wrong_cut_offs_of_an_evaluation_are_named(tiny: MatchData) -> None:
    with pytest.raises(ConfigError, match=r"top_k=\[0\] is no sequence"):
        MatchTrainer(make_model("dssm", tiny), 2).evaluate(tiny, top_k=[0])


def test_an_unknown_split_is_named_not_taken_for_test(tiny: MatchData) -> None:
    with pytest.raises(ConfigError, match=r"split='tset'; allowed: valid, test\. Did .* 'test'"):
        MatchTrainer(make_model("dssm", tiny), 2).evaluate(tiny, split="tset")


def test_data_read_otherwise_than_those_of_training_are_refused(tiny: MatchData) -> None:
    """Equal ids would mean other items: figures of one, and the best epoch, would be of nothing."""
    frame = pd.DataFrame({"user_id": np.repeat(np.arange(20), 6), "item_id": np.arange(120) % 30})
    here, there = (rechub_cli.load_interactions(frame + [0, shift]) for shift in (0, 7))
    trainer = MatchTrainer(make_model("dssm", here), 2, n_epoch=1)
    trainer.fit(here)
    trainer.evaluate(here, split="valid")
    message = "item_id was fitted on other rows than in the data of training"
    with pytest.raises(DataError, match=message):
        trainer.evaluate(there)
    epochs = trainer.history
    with pytest.raises(DataError, match=message):
        trainer.fit(here, there)
    assert trainer.history is epochs  # refused before the first step


def test_accumulated_batches_are_one_step() -> None:
    """Two half batches of one step move the weights as their mean gradient does."""
    big, small = quick_model(), quick_model()
    small.load_state_dict(big.state_dict())
    features, label = next(iter(DataLoader(rows(None, n=16), batch_size=16)))
    halves = [
        ({k: v[part] for k, v in features.items()}, label[part])
        for part in (slice(0, 8), slice(8, 16))
    ]
    for module in (big, small):
        for layer in module.modules():
            if isinstance(layer, Dropout):
                layer.p = 0.0
    MatchTrainer(big, 0, {"name": "sgd", "lr": 0.1}, 1).fit([(features, label)])
    MatchTrainer(small, 0, {"name": "sgd", "lr": 0.1}, 1, accumulate=2).fit(halves)
    for a, b in zip(big.parameters(), small.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_what_an_epoch_leaves_over_is_a_whole_step() -> None:
    """One batch moves the weights as far, be four to a step or one."""
    batch = next(iter(DataLoader(rows(None, n=16), batch_size=16)))
    first, moved = quick_model(), []
    for layer in first.modules():
        if isinstance(layer, Dropout):
            layer.p = 0.0
    for accumulate in (1, 4):
        model = copy.deepcopy(first)
        MatchTrainer(model, 0, {"name": "sgd", "lr": 0.1}, 1, accumulate=accumulate).fit([batch])
        moved.append(list(model.parameters()))
    for a, b in zip(*moved, strict=True):
        torch.testing.assert_close(a, b)


class Stream(IterableDataset[tuple[dict[str, Tensor], Tensor]]):
    """The rows, without a length."""

    def __iter__(self) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        return iter(rows(None))


def test_a_stream_without_a_length_trains_as_its_rows_do() -> None:
    """5 batches an epoch in steps of 3: the last step of an epoch takes what is left."""
    streamed, listed = quick_model(), quick_model()
    streamed.load_state_dict(listed.state_dict())
    for model, source in ((streamed, Stream()), (listed, rows(None))):
        loader = DataLoader(source, batch_size=13)  # type: ignore[arg-type]
        MatchTrainer(model, 0, {"lr": 1e-2}, 2, accumulate=3).fit(loader)
    for a, b in zip(streamed.parameters(), listed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_what_a_stream_cannot_do_is_named() -> None:
    loader = DataLoader(Stream(), batch_size=16)
    for schedule in ("linear", "cosine", "anneal"):
        with pytest.raises(ConfigError, match=f"schedule='{schedule}' .* without a length"):
            MatchTrainer(quick_model(), 0, n_epoch=3, schedule=schedule).fit(loader)
    once = (batch for batch in list(loader))
    with pytest.raises(RechubError, match="no batch in epoch 2; they are read anew each epoch"):
        MatchTrainer(quick_model(), 0, n_epoch=2).fit(once)
    with pytest.raises(RechubError, match="hold no batch in epoch 1"):
        MatchTrainer(quick_model(), 0, n_epoch=2).fit([])


def test_what_is_no_data_and_no_model_is_named(tiny: MatchData) -> None:
    trainer = MatchTrainer(quick_model(), 2, n_epoch=1)
    wrong: Any = "interactions.csv"
    for call, message in (
        (lambda: MatchTrainer(wrong), "model is a str; needed: a MatchingModel"),
        (
            lambda: MatchTrainer(quick_model(), 2, wrong),
            "optimizer_params is a str; needed",
        ),
        (lambda: trainer.fit(cast(Any, None)), "train is a NoneType; needed: data of load_inter"),
        (lambda: trainer.fit(tiny, wrong), "valid is a str; needed: data of load_interactions"),
        (lambda: trainer.evaluate(wrong), "data is a str; needed: data of load_interactions"),
    ):
        with pytest.raises(ConfigError, match=message):
            call()


def test_clipping_bounds_the_step(tiny: MatchData) -> None:
    model = make_model("dssm", tiny)
    before = [p.clone() for p in model.parameters()]
    trainer = MatchTrainer(model, 2, {"name": "sgd", "lr": 1.0}, 1, batch_size=1000, clip_norm=1e-3)
    trainer.fit(tiny)  # one step
    moved = torch.cat([(a - b).flatten() for a, b in zip(before, model.parameters(), strict=True)])
    assert moved.norm().item() == pytest.approx(1e-3, rel=1e-3)


def test_decay_spares_vectors() -> None:
    optimizer = build_optimizer(torch.nn.Linear(3, 2), {"lr": 0.1, "weight_decay": 0.5})
    decay = {tuple(p.shape): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert decay == {(2, 3): 0.5, (2,): 0.0}


def test_a_warm_up_that_never_ends_is_refused(tiny: MatchData) -> None:
    for schedule, n_epoch in (("constant", 2), ("anneal", 4)):  # of which two are at the rate
        options: Any = {"batch_size": 1000, "schedule": schedule, "n_epoch": n_epoch}
        trainer = MatchTrainer(make_model("dssm", tiny), 2, warmup_steps=2, **options)
        with pytest.raises(ConfigError, match=r"warmup_steps=2, and 2 steps are all that"):
            trainer.fit(tiny)


def test_schedules_by_hand() -> None:
    for name, expected in {
        "constant": [0.5, 1.0, 1.0, 1.0, 1.0, 1.0],
        "linear": [0.5, 1.0, 1.0, 0.75, 0.5, 0.25],
    }.items():
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        schedule = build_schedule(optimizer, name=name, warmup_steps=2, total_steps=6)
        rates = []
        for _ in expected:
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        assert rates == pytest.approx(expected)
