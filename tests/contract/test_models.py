"""What every registered model must do, whoever wrote it.

B rows, L history length, K interests, D width, I catalogue.
"""

from __future__ import annotations

import inspect
import itertools
import logging
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from rechub_cli.data.batches import HistoryGather
from rechub_cli.data.dataset import MatchData
from rechub_cli.errors import ConfigError
from rechub_cli.evaluation.model_scores import item_vectors, model_scorer, user_vectors
from rechub_cli.export.contract import tower_inputs
from rechub_cli.export.onnx import export_tower
from rechub_cli.export.parity import Tower, check_parity, compare_towers
from rechub_cli.layers.capsule import InterestRouting, PositionalRouting
from rechub_cli.models.matching.base import MatchingModel, best_products
from rechub_cli.registry import list_models
from rechub_cli.trainers.match_trainer import MatchTrainer
from rechub_cli.trainers.options import DEFAULT_NEGATIVES, NegativeOptions
from rechub_cli.trainers.rules import MODES
from tests.contract.conftest import (
    FORMS,
    MAX_LEN,
    NAMES,
    make_model,
    shipped_params,
    shipped_yaml,
)

LONG = 200
"""Events that an exported tower reads."""


def batch_of(
    data: MatchData, *, distinct: bool = False, max_len: int = MAX_LEN
) -> dict[str, Tensor]:
    gather = HistoryGather(data.interactions, data.encoded, max_len=max_len, distinct=distinct)
    test = data.split.test
    return gather(torch.from_numpy(test.user), torch.from_numpy(test.history_end))


def pad(batch: dict[str, Tensor], extra: int, *, ids: bool = False) -> dict[str, Tensor]:
    """The same histories with more padding behind them, or with real ids, neighbours different."""
    out = dict(batch)
    for key, tensor in batch.items():
        if key.startswith("history") and key != "history_length":
            shape = list(tensor.shape)
            shape[1] = extra
            filling = torch.zeros(shape, dtype=torch.int64)
            if ids and not key.endswith("_length"):
                filling = 2 + torch.arange(filling.numel()).view(shape) % 3
            out[key] = torch.cat([tensor, filling], dim=1)
    return out


@pytest.mark.parametrize(
    ("name", "changes", "mode"),
    [
        *((name, {}, mode) for name in NAMES for mode in MODES),
        *((*form, "listwise") for form in FORMS if form[1]),
    ],
)
def test_overfits_a_tiny_set(
    name: str, changes: dict[str, Any], mode: str, tiny: MatchData
) -> None:
    model = make_model(name, tiny, **changes)
    negatives = DEFAULT_NEGATIVES[mode]
    if mode != "listwise":
        negatives = NegativeOptions("uniform", 8)
    trainer = MatchTrainer(
        model, mode, {"lr": 0.02}, 60, batch_size=16, negatives=negatives, patience=None
    )
    trainer.monitor = "hr@5"
    history = trainer.fit(tiny)
    assert history[-1].loss < 0.6 * history[0].loss
    # Each user's next item is one or two steps ahead: knowable, and no list of favourites.
    assert max(result.metrics["hr@5"] for result in history) >= 0.5


@pytest.mark.parametrize("mode", MODES)
def test_a_gradient_reaches_every_parameter(name: str, mode: str, tiny: MatchData) -> None:
    model = make_model(name, tiny)
    trainer = MatchTrainer(model, mode, batch_size=1000)
    loss, _ = next(iter(trainer._steps(tiny).losses(1)))
    loss.backward()  # type: ignore[no-untyped-call]
    silent = [
        n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0
    ]
    assert silent == []


def test_more_padding_changes_nothing(model: MatchingModel, tiny: MatchData) -> None:
    model.eval()
    batch = batch_of(tiny)
    expected = model.user_tower(batch)
    assert_close(model.user_tower(pad(batch, 5)), expected)
    # Masks come from the lengths, not from an id: real ids behind the end count for nothing.
    assert_close(model.user_tower(pad(batch, 5, ids=True)), expected)


def test_the_other_rows_change_nothing(model: MatchingModel, tiny: MatchData) -> None:
    model.eval()
    batch = batch_of(tiny)
    whole = model.user_tower(batch)
    for row in (0, 7):
        alone = {key: tensor[row : row + 1] for key, tensor in batch.items()}
        assert_close(model.user_tower(alone)[0], whole[row])
    order = torch.randperm(len(tiny.split.test), generator=torch.Generator().manual_seed(1))
    turned = {key: tensor[order] for key, tensor in batch.items()}
    assert_close(model.user_tower(turned), model.user_tower(batch)[order])


def test_both_history_forms_are_equal(model: MatchingModel, tiny: MatchData) -> None:
    model.eval()
    assert_close(model.user_tower(batch_of(tiny, distinct=True)), model.user_tower(batch_of(tiny)))


def test_eval_is_deterministic_and_writes_nothing(model: MatchingModel, tiny: MatchData) -> None:
    model.eval()
    batch = batch_of(tiny)
    before = {key: tensor.clone() for key, tensor in batch.items()}
    first = model.user_tower(batch)
    torch.rand(3)  # another place in the global generator
    assert torch.equal(model.user_tower(batch), first)
    for key, tensor in batch.items():
        assert torch.equal(tensor, before[key])


def test_training_scores_are_tower_scores(
    form: tuple[str, dict[str, Any]], tiny: MatchData
) -> None:
    """Of every item where each takes its own best interest; of the target where all take its; a
    mixture is no score that is served."""
    model = make_model(form[0], tiny, **form[1]).eval()
    selection = form[1].get("selection", "candidate")
    test = tiny.split.test
    users, items = user_vectors(model, tiny, test), item_vectors(model, tiny)
    target = torch.from_numpy(tiny.interactions.items[test.history_end].astype("int64"))
    served = model_scorer(model, tiny, test)(slice(0, len(test)))
    queries = model.queries(users, items[target])
    trained = best_products(queries, items[target].unsqueeze(1)).squeeze(1) / model.temperature
    if selection != "mixed":
        assert_close(trained, served[torch.arange(len(test)), target])
    aligned = {**batch_of(tiny), **{k: t[target] for k, t in tiny.encoded.item.items()}}
    assert_close(model(aligned), trained)
    if selection == "candidate":
        assert_close(best_products(queries, items) / model.temperature, served)


@pytest.mark.parametrize("length", [0, 1])
def test_short_histories_give_finite_vectors(
    length: int, model: MatchingModel, tiny: MatchData
) -> None:
    batch = batch_of(tiny)
    batch["history_length"] = torch.full_like(batch["history_length"], length)
    vectors = model.user_tower(batch)
    assert torch.isfinite(vectors).all()
    vectors.sum().backward()  # type: ignore[no-untyped-call]
    for parameter in model.parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all()


def test_only_the_history_that_counts_is_read(model: MatchingModel, tiny: MatchData) -> None:
    """With length 0 nothing of the history may leak into the vector."""
    model.eval()
    batch = batch_of(tiny)
    batch["history_length"] = torch.zeros_like(batch["history_length"])
    other = {k: t.flip(0) if k.startswith("history") else t for k, t in batch.items()}
    assert_close(model.user_tower(other), model.user_tower(batch))


def test_more_than_the_last_items_count(model: MatchingModel, tiny: MatchData) -> None:
    model.eval()
    wide, narrow = batch_of(tiny, max_len=6), batch_of(tiny, max_len=3)
    assert not torch.allclose(model.user_tower(wide), model.user_tower(narrow))


def test_only_the_last_max_len_items_count(model: MatchingModel, tiny: MatchData) -> None:
    """A server may send more than was trained on."""
    model.eval()
    batch = batch_of(tiny)
    rows, width = batch["history"].shape
    older = pad({k: t.clone() for k, t in batch.items()}, MAX_LEN)
    longer = {
        k: torch.cat([t[:, :1].expand(-1, 20, *t.shape[2:]), t], dim=1)
        if k.startswith("history") and k != "history_length"
        else t
        for k, t in batch.items()
    }
    full = batch["history_length"] == MAX_LEN
    assert rows == len(full)
    assert width <= MAX_LEN
    longer["history_length"] = batch["history_length"] + 20
    assert_close(model.user_tower(longer)[full], model.user_tower(older)[full])


@pytest.mark.parametrize("wrong", [0.0, float("nan"), "0.1"])
def test_what_is_no_temperature_is_refused(tiny: MatchData, wrong: float) -> None:
    with pytest.raises(ConfigError, match="temperature=.*; allowed: any number above 0"):
        make_model("dssm", tiny, temperature=wrong)


def test_temperature_acts(name: str, tiny: MatchData) -> None:
    warm, cold = (make_model(name, tiny, temperature=t) for t in (1.0, 0.1))
    queries = tiny.split.test
    rows = slice(0, len(queries))
    assert_close(
        model_scorer(cold, tiny, queries)(rows), 10 * model_scorer(warm, tiny, queries)(rows)
    )
    losses = [
        next(iter(MatchTrainer(m, "listwise")._steps(tiny).losses(1)))[0] for m in (warm, cold)
    ]
    assert not torch.allclose(*losses)


@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("name", [n for n in NAMES if "user_params" in shipped_yaml(n)])
def test_norms_train_export_and_take_a_single_row(
    norm: str, name: str, tiny: MatchData, tmp_path: Path
) -> None:
    params = shipped_params(name)["user_params"] | {"norm": norm}
    model = make_model(name, tiny, user_params=params)
    MatchTrainer(model, "listwise", n_epoch=1, batch_size=83).fit(tiny)
    assert len(tiny.train_loader(batch_size=83, seed=0).events) % 83 == 1
    for tower in ("user", "item"):
        export_tower(model, tmp_path / f"{tower}_tower.onnx", tower=tower)
    check_parity(compare_towers(model, tiny, tmp_path), tolerance=1e-4, min_overlap=0.999)


def test_dssm_users_start_near_the_items_of_their_history(tiny: MatchData) -> None:
    """Each tower lays its features side by side in an order of its own, some of them numbers."""
    model = make_model("dssm", tiny, similarity="cosine").eval()
    assert {1, 16} <= {f.embed_dim for f in model.schema.user_features}
    for name, values in model.named_parameters():
        if name.endswith("mlp.layers.3.weight"):
            torch.nn.init.zeros_(values)
    gather = HistoryGather(tiny.interactions, tiny.encoded, max_len=MAX_LEN)
    first = gather.known_start[:-1]
    one_item = gather.window(torch.arange(len(first)), first, torch.ones_like(first), event=None)
    best = (model.user_tower(one_item) @ item_vectors(model, tiny).T).argmax(dim=1)
    assert torch.equal(best, gather.items[first])


def test_cosine_vectors_have_norm_one(name: str, tiny: MatchData) -> None:
    model = make_model(name, tiny, similarity="cosine").eval()
    users = user_vectors(model, tiny, tiny.split.test)
    items = item_vectors(model, tiny)
    assert_close(users.norm(dim=-1), torch.ones(users.shape[:-1]))
    assert_close(items.norm(dim=-1), torch.ones(len(items)))
    dot = make_model(name, tiny, similarity="dot").eval()
    assert (item_vectors(dot, tiny).norm(dim=-1) - 1).abs().max() > 0.01


def test_two_builds_share_nothing(name: str, tiny: MatchData) -> None:
    one, two = make_model(name, tiny, seed=0), make_model(name, tiny, seed=0)
    pointers = {p.data_ptr() for p in one.parameters()}
    assert not pointers & {p.data_ptr() for p in two.parameters()}
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_same_seed_trains_the_same_bits(name: str, tiny: MatchData) -> None:
    weights = []
    for _ in range(2):
        model = make_model(name, tiny)
        torch.rand(5)
        MatchTrainer(model, "listwise", n_epoch=2, batch_size=16, seed=3).fit(tiny)
        weights.append([p.clone() for p in model.parameters()])
    for a, b in zip(*weights, strict=True):
        assert torch.equal(a, b)


def test_towers_export_and_agree_at_other_shapes(
    form: tuple[str, dict[str, Any]],
    tiny: MatchData,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = make_model(form[0], tiny, max_len=LONG, **form[1]).eval()
    for tower in ("user", "item"):
        export_tower(model, tmp_path / f"{tower}_tower.onnx", tower=tower)
    assert [r.getMessage() for r in caplog.records if r.levelno > logging.DEBUG] == []
    check_parity(compare_towers(model, tiny, tmp_path), tolerance=1e-4, min_overlap=0.999)
    tower = Tower(tmp_path / "user_tower.onnx")
    assert set(tower.names) == {spec.name for spec in tower_inputs(model, "user")}
    for rows, length in itertools.product((1, 3, 64), (0, 1, 7, 50, LONG)):
        users = torch.arange(rows) % len(tiny.split.test)
        batch = pad({k: t[users] for k, t in batch_of(tiny).items()}, length, ids=True)
        batch["history_length"] = torch.full((rows,), length).clamp(max=batch["history"].shape[1])
        expected = model.user_tower(batch)
        found = torch.from_numpy(tower({k: batch[k] for k in tower.names}))
        assert_close(found, expected.detach(), atol=1e-5, rtol=1e-4)
    items = Tower(tmp_path / "item_tower.onnx")
    for rows in (1, 3, 64):
        batch = {k: t[torch.arange(rows) % 20] for k, t in tiny.encoded.item.items()}
        found = torch.from_numpy(items({k: batch[k] for k in items.names}))
        assert_close(found, model.item_tower(batch).detach(), atol=1e-5, rtol=1e-4)
    batch = batch_of(tiny)
    batch["history_length"] = torch.zeros_like(batch["history_length"])
    of_nobody = model.user_tower(batch).detach()
    batch |= {k: t[:, :0] for k, t in batch.items() if k.startswith("history") and t.dim() > 1}
    found = torch.from_numpy(tower({k: batch[k] for k in tower.names}))
    assert_close(found, of_nobody, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("maps", "layer"), [("interest", InterestRouting), ("position", PositionalRouting)]
)
def test_comirec_dr_has_the_maps_it_is_told(maps: str, layer: type, tiny: MatchData) -> None:
    model: Any = make_model("comirec_dr", tiny, maps=maps)
    assert isinstance(model.user_tower.interests, layer)


@pytest.mark.parametrize("residual", [True, False])
def test_gru4rec_adds_its_items_where_it_is_told(residual: bool, tiny: MatchData) -> None:
    model: Any = make_model("gru4rec", tiny, residual=residual)
    assert (model.user_tower.sequence.residual is not None) == residual


def test_what_is_no_form_is_refused(tiny: MatchData) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'interest'"):
        make_model("comirec_dr", tiny, maps="intrest")


@pytest.mark.parametrize(
    ("name", "key"),
    [
        *((n, "max_len") for n in NAMES),
        ("gru4rec", "num_layers"),
        ("gru4rec", "hidden_dim"),
        ("sasrec", "num_blocks"),
        ("sasrec", "num_heads"),
        ("sasrec", "hidden_dim"),
        ("comirec_sa", "hidden_dim"),
        ("comirec_sa", "interest_num"),
        ("mind", "routing_iterations"),
    ],
)
@pytest.mark.parametrize("wrong", [0, -1, 2.5, "4"])
def test_what_is_no_count_is_refused(name: str, key: str, wrong: object, tiny: MatchData) -> None:
    with pytest.raises(
        ConfigError, match=f"{key.removeprefix('routing_')}={wrong!r} is no integer"
    ):
        make_model(name, tiny, **{key: wrong})


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("sasrec", {"num_heads": 3}, "num_heads=3 does not divide the width 16"),
        ("mind", {"selection": "mixed"}, "label_attention=None is needed with selection=mixed"),
        ("mind", {"label_attention": 2.0}, "label_attention=2.0 is ignored by selection=candidate"),
        (
            "mind",
            {"selection": "mixed", "label_attention": "2"},
            "label_attention='2' is no number above 0",
        ),
        ("mind", {"selection": "targt"}, "Did you mean 'target'"),
    ],
)
def test_what_does_not_go_together_is_refused(
    name: str, changes: dict[str, Any], message: str, tiny: MatchData
) -> None:
    with pytest.raises(ConfigError, match=message):
        make_model(name, tiny, **changes)


@pytest.mark.parametrize("name", ["dssm", "youtube_dnn"])
def test_what_is_no_pooling_is_refused(name: str, tiny: MatchData) -> None:
    with pytest.raises(ConfigError, match="pooling='max'; allowed: mean, recency"):
        make_model(name, tiny, pooling="max")


@pytest.mark.parametrize(
    ("name", "key"),
    [
        *((n, "tied") for n in NAMES if "tied" in shipped_yaml(n)),
        ("gru4rec", "residual"),
        ("mind", "recency"),
    ],
)
@pytest.mark.parametrize("wrong", ["false", 0, None])
def test_what_is_neither_true_nor_false_is_refused(
    name: str, key: str, wrong: object, tiny: MatchData
) -> None:
    with pytest.raises(ConfigError, match=f"{key}={wrong!r} is neither True nor False"):
        make_model(name, tiny, **{key: wrong})


def test_constructor_defaults_are_the_yaml_s(name: str) -> None:
    """What the YAML file leaves to the data is the constructor's as for dense data."""
    entry = next(e for e in list_models() if e.name == name)
    shipped = shipped_yaml(name)
    of_dense_data = entry.dropouts(math.inf)
    for key, parameter in inspect.signature(entry.build).parameters.items():
        if parameter.default is not inspect.Parameter.empty and key != "max_len":
            given = of_dense_data.get(key) if shipped[key] is None else shipped[key]
            assert given == parameter.default, key
