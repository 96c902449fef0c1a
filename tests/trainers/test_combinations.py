"""Mode x loss x sampler x option: each works or is refused, as README's table says."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import yaml
from torch import Tensor
from torch.testing import assert_close

from rechub_cli.config import trainer_schema
from rechub_cli.config.locate import conf_dir
from rechub_cli.config.origin import Origin
from rechub_cli.config.resolve import find_issues
from rechub_cli.data.batches import TrainBatch
from rechub_cli.data.dataset import MatchData
from rechub_cli.errors import ConfigError
from rechub_cli.models.matching.base import MatchingModel, best_products
from rechub_cli.trainers.loading import training_loader
from rechub_cli.trainers.losses import sampled_softmax
from rechub_cli.trainers.match_trainer import MatchTrainer
from rechub_cli.trainers.objectives import DrawnSoftmax, FullSoftmax, SampledLoss, user_vectors
from rechub_cli.trainers.options import (
    AUTO_NEGATIVES,
    DEFAULT_LOSS,
    DEFAULT_NEGATIVES,
    MOST_COMPARED,
    LossOptions,
    NegativeOptions,
    choose_sampler,
)
from rechub_cli.trainers.rules import LOGQ, LOSSES, MODES, SAMPLERS, WHOLE
from rechub_cli.trainers.steps import _objective
from rechub_cli.trainers.towers import Towers
from tests.conftest import ROOT
from tests.contract.conftest import make_model

Choice = dict[str, Any]
LOSS_KEYS, NEGATIVES_KEYS = ("gbce_t", "bpreg"), ("num_negatives", "alpha", "pool_size")
SCHEMAS = {
    "pointwise": trainer_schema.PointwiseTrainer,
    "pairwise": trainer_schema.PairwiseTrainer,
    "listwise": trainer_schema.ListwiseTrainer,
}


def readme_table() -> dict[tuple[str, str, str], bool]:
    """(loss, sampler, logq) -> whether README says that it works."""
    text = (ROOT / "README.md").read_text()
    rows = [
        [cell.strip() for cell in line.strip("|\n ").split("|")]
        for line in text[text.index("| sampler |") :].split("\n\n", 1)[0].splitlines()
    ]
    head = [cell.split()[-1] for cell in rows[0]]
    table = {}
    for row in rows[2:]:
        forms = row[-1].split(";")[0].split(", ")
        for loss, verdict in zip(head[1:-1], row[1:-1], strict=True):
            assert re.fullmatch(r"works|refused \([ab]\)", verdict)
            for logq in ("null", *LOGQ):
                allowed = logq in (forms if loss == "softmax" else ("null",))
                table[loss, row[0], logq] = verdict == "works" and allowed
    return table


def choice_of(mode: str, loss: str, sampler: str, logq: str | None) -> Choice:
    """The combination with the options that it needs."""
    return {
        "mode": mode,
        "loss": loss,
        "sampler": sampler,
        "logq": logq,
        "gbce_t": 0.75 if loss == "gbce" else None,
        "bpreg": 0.5 if loss == "bpr_max" else None,
        "num_negatives": None if sampler in (*WHOLE, "in_batch") else 4,
        "pool_size": 8 if sampler == "hard" else None,
        "alpha": None,
    }


@pytest.fixture(scope="module")
def model(tiny: MatchData) -> MatchingModel:
    return make_model("youtube_dnn", tiny)


def from_python(choice: Choice, model: MatchingModel) -> MatchTrainer:
    return MatchTrainer(
        model,
        choice["mode"],
        loss=LossOptions(choice["loss"], **{key: choice[key] for key in LOSS_KEYS}),
        negatives=NegativeOptions(
            choice["sampler"], logq=choice["logq"], **{key: choice[key] for key in NEGATIVES_KEYS}
        ),
        batch_size=16,
    )


def from_the_shell(choice: Choice) -> list[str]:
    """What the schema finds wrong."""
    values = yaml.safe_load((conf_dir() / "trainer" / f"{choice['mode']}.yaml").read_text())
    values["loss"] = choice["loss"]
    values["negatives"]["sampler"] = choice["sampler"]
    for key, part in [
        *((key, values) for key in LOSS_KEYS),
        *((key, values["negatives"]) for key in (*NEGATIVES_KEYS, "logq")),
    ]:
        if key in part or choice[key] is not None:
            part[key] = choice[key]
    return [str(i) for i in find_issues(SCHEMAS[choice["mode"]], values, origin=Origin())]


def refusal(choice: Choice, model: MatchingModel) -> str:
    try:
        from_python(choice, model)
    except ConfigError as error:
        return str(error)
    return ""


ALL = list(itertools.product(MODES, sum(LOSSES.values(), ()), SAMPLERS, (None, *LOGQ)))


def test_each_works_or_is_refused_as_the_readme_says(tiny: MatchData, model: MatchingModel) -> None:
    """The shell and Python refuse the same; what they let through takes a step."""
    table = readme_table()
    for mode, loss, sampler, logq in ALL:
        choice = choice_of(mode, loss, sampler, logq)
        works = loss in LOSSES[mode] and table[loss, sampler, logq or "null"]
        shell, python = from_the_shell(choice), refusal(choice, model)
        assert (not shell) == (not python) == works, (choice, shell, python)
        if works:
            trainer = from_python(choice, model)
            model.zero_grad()
            loss_value, _ = next(iter(trainer._steps(tiny).losses(1)))
            loss_value.backward()  # type: ignore[no-untyped-call]
            grads = [p.grad for p in model.parameters()]
            assert all(g is not None and torch.isfinite(g).all() for g in grads), choice
            assert any(g is not None and g.abs().sum() > 0 for g in grads), choice


def test_each_option_is_needed_or_refused(model: MatchingModel) -> None:
    """An option that the choice ignores is refused when given, one that it needs when left out."""
    given = {"gbce_t": 0.5, "bpreg": 0.5, "num_negatives": 4, "alpha": 0.5, "pool_size": 8}
    for (loss, sampler, logq), works in readme_table().items():
        mode = next(m for m, names in LOSSES.items() if loss in names)
        if not works or logq != "null":
            continue
        choice = choice_of(mode, loss, sampler, None)
        for key, value in given.items():
            turned = {**choice, key: value if choice[key] is None else None}
            shell, python = from_the_shell(turned), refusal(turned, model)
            if (key, sampler) == ("alpha", "popularity"):
                assert (shell, python) == ([], ""), turned
            else:
                assert any(key in line for line in shell), turned
                assert key in python, turned


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"loss": "bpr"}, "is a loss of mode pairwise; pointwise has bce and gbce"),
        ({"loss": "gbce", "gbce_t": 0.5, "sampler": "popularity"}, "derived for uniform draws"),
        ({"sampler": "full", "num_negatives": None}, "whole catalogue at once"),
        ({"sampler": "hard", "pool_size": 3}, "is below num_negatives=4"),
        ({"num_negatives": 0}, "num_negatives"),
        ({"sampler": "popularity", "alpha": -1.0}, "alpha"),
        ({"loss": "gbce", "gbce_t": 1.5}, "gbce_t"),
        ({"loss": "bce", "gbce_t": 0.5}, "is ignored by loss=bce"),
        ({"sampler": "unifrom"}, "Did you mean 'uniform'?"),
        ({"loss": "bcee"}, "Did you mean 'bce'?"),
        ({"mode": "listwise", "loss": "softmax", "logq": "yi"}, "logq"),
        (
            {"mode": "listwise", "loss": "softmax", "sampler": "hard", "pool_size": 9}
            | {"logq": "both"},
            "has no known expected count",
        ),
        ({"mode": "pairwise", "loss": "bpr_max", "bpreg": -0.1}, "bpreg"),
    ],
)
def test_both_doors_give_the_reason(changes: Choice, reason: str, model: MatchingModel) -> None:
    choice = {**choice_of("pointwise", "bce", "uniform", None), **changes}
    assert any(reason in line for line in from_the_shell(choice)), from_the_shell(choice)
    assert reason in refusal(choice, model)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: LossOptions("gbce", gbce_t=cast(Any, "0.5")),
            "gbce_t='0.5' is not in the allowed",
        ),
        (lambda: LossOptions("bpr_max", bpreg=True), "bpreg=True is no number >= 0"),
        (
            lambda: NegativeOptions("uniform", cast(Any, 2.5)),
            "num_negatives=2.5 is no integer >= 1",
        ),
        (
            lambda: NegativeOptions("uniform", cast(Any, "4")),
            "num_negatives='4' is no integer >= 1",
        ),
        (
            lambda: NegativeOptions("hard", 4, pool_size=cast(Any, "9")),
            "pool_size='9' is no integer >= 1",
        ),
        (lambda: NegativeOptions("popularity", 4, alpha=float("nan")), "alpha=nan is no number"),
    ],
)
def test_what_is_no_number_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_all_problems_of_the_group_come_at_once() -> None:
    choice = choice_of("pointwise", "gbce", "hard", None)
    found = from_the_shell({**choice, "gbce_t": None, "pool_size": None})
    assert sorted(line.split(":")[0] for line in found) == ["gbce_t", "negatives.pool_size"]


def first_loss(data: MatchData, model: MatchingModel, **changes: Any) -> float:
    choice = {**choice_of(changes["mode"], changes["loss"], changes["sampler"], None), **changes}
    loss, _ = next(iter(from_python(choice, model)._steps(data).losses(1)))
    return float(loss.item())


@pytest.mark.parametrize(
    ("base", "key", "values"),
    [
        (("pointwise", "gbce", "uniform"), "gbce_t", (0.0, 0.5, 1.0)),
        (("pairwise", "bpr_max", "uniform"), "bpreg", (0.0, 0.5)),
        (("pairwise", "bpr", "uniform"), "num_negatives", (4, 5)),
        (("pairwise", "bpr", "popularity"), "alpha", (0.0, 1.0, 4.0)),
        (("pairwise", "bpr", "hard"), "pool_size", (5, 20)),
        (("listwise", "softmax", "popularity"), "logq", LOGQ),
    ],
)
def test_each_option_reaches_the_loss(
    base: tuple[str, str, str],
    key: str,
    values: tuple[Any, ...],
    tiny: MatchData,
    model: MatchingModel,
) -> None:
    chosen = dict(zip(("mode", "loss", "sampler"), base, strict=True))
    found = [first_loss(tiny, model, **{**chosen, key: value}) for value in values]
    assert len(set(found)) == len(values)


def test_null_is_what_the_comments_say(tiny: MatchData, model: MatchingModel) -> None:
    def softmax(**changes: Any) -> float:
        return first_loss(tiny, model, mode="listwise", loss="softmax", **changes)

    for sampler in ("uniform", "popularity", "in_batch", "mixed"):
        assert softmax(sampler=sampler) == softmax(sampler=sampler, logq="negatives")
    assert softmax(sampler="hard") == softmax(sampler="hard", logq="none")
    assert softmax(sampler="popularity") == softmax(sampler="popularity", alpha=1.0)


@pytest.mark.parametrize(
    ("loss", "negatives", "mask_seen", "excluded"),
    [
        ("bpr", NegativeOptions("hard", 20, pool_size=20), False, "known"),
        ("bce", NegativeOptions("in_batch"), False, "known"),
        ("softmax", NegativeOptions("hard", 20, pool_size=20), False, "known"),
        ("softmax", NegativeOptions("hard", 20, pool_size=20, exclude="seen"), True, "seen"),
        ("softmax", NegativeOptions("in_batch", logq="weighted"), True, "seen"),
        ("softmax", NegativeOptions("in_batch", logq="weighted"), False, "none"),
        ("softmax", NegativeOptions("in_batch", logq="weighted", exclude="known"), False, "known"),
        ("softmax", NegativeOptions("in_batch", logq="weighted", exclude="none"), True, "none"),
    ],
)
def test_whose_negatives_count(
    loss: str,
    negatives: NegativeOptions,
    mask_seen: bool,
    excluded: str,
    tiny: MatchData,
    model: MatchingModel,
) -> None:
    """Of the user's own items: none does in pairs, and in the softmax as ``exclude`` says."""
    # First events are known too where they are no targets, as of causal models.
    loader = tiny.train_loader(batch_size=1000, seed=0, min_history=1)
    objective = _objective(
        tiny,
        Towers(model),
        loss=LossOptions(loss),
        options=negatives,
        device=torch.device("cpu"),
        mask_seen=mask_seen,
    )
    assert isinstance(objective, SampledLoss)
    seen = []

    def spy(positive: Tensor, negative: Tensor, *, excluded: Tensor, weight: Any = None) -> Tensor:
        seen.append((~excluded).sum(dim=1))
        return positive.sum()

    objective.loss = spy
    batch = next(loader.epoch(1))
    objective(batch, torch.Generator().manual_seed(0))
    rows = (batch.target if negatives.sampler == "in_batch" else tiny.trained_items).tolist()
    for count, row in zip(seen[0], range(len(batch.target)), strict=True):
        own = own_items(tiny, batch, row, excluded) | {int(batch.target[row])}
        assert count == sum(item not in own for item in rows)


@pytest.mark.parametrize("name", ["youtube_dnn", "mind", "sasrec"])
@pytest.mark.parametrize("sampler", ["uniform", "popularity", "in_batch", "mixed"])
@pytest.mark.parametrize("logq", ["none", "negatives", "both"])
@pytest.mark.parametrize("exclude", ["none", "seen", "known"])
def test_the_softmax_over_a_draw_is_that_of_its_pairs(
    name: str, sampler: str, logq: str, exclude: str, tiny: MatchData
) -> None:
    """One score a distinct item, against one a draw: the same loss, the same gradients."""
    model = make_model(name, tiny).eval()
    num = None if sampler == "in_batch" else 20  # of 12 items, so that some are drawn twice
    drawn = _objective(
        tiny,
        Towers(model),
        loss=LossOptions("softmax"),
        options=NegativeOptions(sampler, num, logq=logq, exclude=exclude),
        device=torch.device("cpu"),
        mask_seen=True,
    )
    assert isinstance(drawn, DrawnSoftmax)
    pairs = SampledLoss(**vars(drawn), loss=sampled_softmax, shared=True, known=None)
    samples = "windows" if name == "sasrec" else "auto"
    batch = next(training_loader(tiny, model, samples=samples, batch_size=1000, seed=0).epoch(1))
    learned = list(model.parameters())
    found = []
    for loss in (drawn, pairs):
        value = loss(batch, torch.Generator().manual_seed(3))
        found.append([value.detach(), *torch.autograd.grad(value, learned, materialize_grads=True)])
    for mine, theirs in zip(*found, strict=True):
        assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def own_items(data: MatchData, batch: TrainBatch, row: int, excluded: str) -> set[int]:
    """The items of a row's user that are no candidates, event by event."""
    user = int(batch.user[row])
    first = data.interactions.offsets[user]
    stop = {"none": first, "seen": int(batch.event[row]), "known": data.split.train_end[user]}
    return set(data.interactions.items[first : stop[excluded]].tolist())


@pytest.mark.parametrize("name", ["youtube_dnn", "mind"])
def test_mixed_pairs_are_scored_in_parts(name: str, tiny: MatchData) -> None:
    """As if every row had its draws and the batch's in one; no part is kept so spread out."""
    model = make_model(name, tiny).eval()
    towers = Towers(model)
    objective = _objective(
        replace(tiny, options=replace(tiny.options, oov_share=0.0)),
        towers,
        loss=LossOptions("bpr"),
        options=NegativeOptions("mixed", 300),
        device=torch.device("cpu"),
        mask_seen=True,
    )
    assert isinstance(objective, SampledLoss)
    found, kept = [], []

    def spy(positive: Tensor, negative: Tensor, *, excluded: Tensor, weight: Any = None) -> Tensor:
        found.append((negative, excluded))
        return positive.sum()

    def note(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    objective.loss = spy
    batch = next(tiny.train_loader(batch_size=1000, seed=0).epoch(1))
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        objective(batch, torch.Generator().manual_seed(0))
    rows = len(batch.target)
    shared, own = objective.sampler.draw(
        batch.target, torch.Generator().manual_seed(0), shared=False
    )
    drawn = torch.cat([shared.expand(rows, -1), own], dim=1)
    items = towers.items(objective.table(torch.arange(len(tiny.catalogue)), torch.Generator()))
    queries = model.queries(user_vectors(towers, batch), items[batch.target])
    assert_close(found[0][0], best_products(queries / model.temperature, items[drawn]))
    assert objective.known is not None
    known = objective.known.contains(batch.user, drawn)
    assert torch.equal(found[0][1], known | (drawn == batch.target.unsqueeze(1)))
    assert max(kept) < rows * own.shape[1] * items.shape[1]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("excluded", ["none", "seen", "known"])
def test_whose_items_the_full_softmax_leaves_out(
    excluded: str, causal: bool, tiny: MatchData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the dense softmax over the candidates that remain, whatever the loader."""
    model = make_model("sasrec" if causal else "youtube_dnn", tiny).eval()
    towers = Towers(model)
    loader = training_loader(
        tiny, model, samples="windows" if causal else "auto", batch_size=1000, seed=0
    )
    objective = _objective(
        tiny,
        towers,
        loss=LossOptions("softmax"),
        options=NegativeOptions("full", exclude=excluded),
        device=torch.device("cpu"),
        mask_seen=True,
    )
    assert isinstance(objective, FullSoftmax)
    monkeypatch.setattr(objective.table, "oov_share", 0.0)
    batch = next(loader.epoch(1))
    found = objective(batch, torch.Generator().manual_seed(0))
    items = objective.table(tiny.trained_items, torch.Generator())
    scores = user_vectors(towers, batch) @ towers.items(items).T / model.temperature
    candidates = tiny.trained_items.tolist()
    rows = []
    for row, target in enumerate(batch.target.tolist()):
        own = own_items(tiny, batch, row, excluded) - {target}
        kept = torch.tensor([item not in own for item in candidates])
        rest = scores[row].masked_fill(~kept, -torch.inf)
        rows.append(torch.logsumexp(rest, dim=0) - scores[row, candidates.index(target)])
    assert_close(found, torch.stack(rows).mean())


def test_auto_draws_of_a_large_catalogue_only() -> None:
    auto = NegativeOptions("auto", exclude="known")
    small = choose_sampler(auto, num_items=MOST_COMPARED)
    assert small == NegativeOptions("full", exclude="known")
    large = choose_sampler(auto, num_items=MOST_COMPARED + 1)
    assert large == NegativeOptions("mixed", AUTO_NEGATIVES, exclude="known")
    assert choose_sampler(large, num_items=1) == large


@pytest.mark.parametrize("most", [1, 1000])
def test_training_follows_auto(
    most: int, tiny: MatchData, model: MatchingModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first epoch is that of the sampler that it stands for."""
    monkeypatch.setattr("rechub_cli.trainers.options.MOST_COMPARED", most)
    state = copy.deepcopy(model.state_dict())

    def loss(negatives: NegativeOptions | None) -> float:
        model.load_state_dict(state)
        trainer = MatchTrainer(model, "listwise", n_epoch=1, negatives=negatives, batch_size=16)
        return trainer.fit(tiny)[0].loss

    named = NegativeOptions("mixed", AUTO_NEGATIVES) if most == 1 else NegativeOptions("full")
    assert loss(None) == loss(named)


def test_gbce_cannot_draw_more_than_there_are_others(tiny: MatchData, model: MatchingModel) -> None:
    choice = {**choice_of("pointwise", "gbce", "uniform", None), "num_negatives": 20}
    with pytest.raises(ConfigError, match="num_negatives=20 over 20 items"):
        from_python(choice, model).fit(tiny)


def test_pairs_have_no_known_negatives(model: MatchingModel) -> None:
    with pytest.raises(ConfigError, match="exclude='none' is not possible in mode pairwise"):
        MatchTrainer(model, "pairwise", negatives=NegativeOptions("uniform", 4, exclude="none"))
    with pytest.raises(ConfigError, match="exclude='sen'; allowed: auto, none, seen, known"):
        NegativeOptions("full", exclude="sen")


def test_rows_of_a_loader_bring_their_own_negatives(model: MatchingModel) -> None:
    with pytest.raises(ConfigError, match="negatives: ignored for a DataLoader"):
        MatchTrainer(model, "pairwise", negatives=NegativeOptions("in_batch")).fit([])
    with pytest.raises(ConfigError, match="batch_size, samples: ignored for a DataLoader"):
        MatchTrainer(model, "pairwise", batch_size=8, samples="prefixes").fit([])
    with pytest.raises(ConfigError, match="needs the size of the catalogue"):
        MatchTrainer(model, loss=LossOptions("gbce", gbce_t=0.5)).fit([])


@pytest.mark.parametrize("mode", MODES)
def test_python_s_defaults_are_the_shipped_ones(mode: str) -> None:
    shipped = yaml.safe_load((Path(conf_dir()) / "trainer" / f"{mode}.yaml").read_text())
    assert vars(DEFAULT_NEGATIVES[mode]) == {
        "logq": None,
        "exclude": "auto",
        **shipped["negatives"],
    }
    loss = vars(DEFAULT_LOSS[mode])
    assert loss["name"] == shipped["loss"]
    assert all(shipped.get(key) == loss[key] for key in LOSS_KEYS)
