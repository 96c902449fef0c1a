"""Named warnings: each rule by hand, each on a run broken on purpose, none on a sane run."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor, nn

from rechub_cli import SparseFeature
from rechub_cli.commands import train
from rechub_cli.config.locate import conf_dir
from rechub_cli.config.origin import Origin
from rechub_cli.config.resolve import resolve
from rechub_cli.config.schema import RunConfig
from rechub_cli.data.dataset import MatchData, SplitOptions, prepare
from rechub_cli.data.feature_options import FeatureOptions
from rechub_cli.data.raw import RawData
from rechub_cli.models.matching.base import MatchingModel
from rechub_cli.run_warning import RunWarning
from rechub_cli.shell.diagnose import plain
from rechub_cli.trainers import watch
from rechub_cli.trainers.gradients import GradientNorms
from rechub_cli.trainers.match_trainer import MatchTrainer
from rechub_cli.trainers.options import NegativeOptions
from rechub_cli.trainers.sanity import (
    LEAK,
    FirstLoss,
    below_floor,
    exploding_gradient,
    loss_did_not_move,
    odd_first_loss,
    saturated_temperature,
    zero_gradient,
)
from tests.contract.conftest import MAX_LEN, NAMES, make_model, tiny_raw

LISTWISE = {"negatives": NegativeOptions("full")}


@pytest.fixture(scope="module")
def known() -> MatchData:
    """More users and no id hidden: a loss with little noise of its own."""
    features = FeatureOptions(max_len=MAX_LEN, oov_share=0.0)
    return prepare(
        tiny_raw(users=60), split=SplitOptions(), features=features, embed_dim=16, seed=0
    )


def names(trainer: MatchTrainer) -> set[str]:
    return {warning.name for warning in trainer.warnings}


def fitted(
    model: MatchingModel, data: MatchData, mode: str = "listwise", *, lr: float = 0.01, **more: Any
) -> MatchTrainer:
    """60 steps on all rows at once."""
    settings = {"n_epoch": 60, "patience": None, "batch_size": 512} | more
    trainer = MatchTrainer(model, mode, {"lr": lr}, **settings)
    trainer.fit(data)
    return trainer


@pytest.mark.parametrize(
    ("model", "floor", "queries", "fires"),
    [
        (0.01, 0.09, 1000, True),  # 0.08 apart, two standard errors are 0.02
        (0.09, 0.01, 1000, False),
        (0.08, 0.09, 1000, False),  # within the noise
        (0.00, 0.10, 20, False),  # 20 queries say nothing
        (0.05, 0.05, 0, False),
    ],
)
def test_below_floor_by_hand(model: float, floor: float, queries: int, fires: bool) -> None:
    found = below_floor({"r": model}, {"r": floor}, metric="r", queries=queries)
    assert (found is not None) == fires
    if found is not None:
        assert str(found).startswith("warning: below_floor: test r is 0.0100 and popularity")


@pytest.mark.parametrize(
    ("found", "expected", "equal", "rows", "text"),
    [
        (8.5, 8.6, 7.2, 512, None),  # cosine at 0.07: ln C + a half of 1.8 squared, and less
        (4.1, 8.6, 7.2, 512, "the input shows the target"),
        (4.1, 8.6, 7.2, 63, None),
        (20.0, 850.0, 7.2, 512, "much too wide"),  # not a leak
        (20.0, 8.6, 7.2, 512, "prefers anything to the target"),
        (840.0, 850.0, 7.2, 512, "much too wide"),
        (3.7, 3.5, math.log(2), 512, None),  # BPR at a temperature of 0.02
    ],
)
def test_odd_first_loss_by_hand(
    found: float, expected: float, equal: float, rows: int, text: str | None
) -> None:
    warning = odd_first_loss(FirstLoss(found, expected, equal, rows), temperature=0.07)
    assert warning is None if text is None else warning is not None and text in warning.text


def test_neighbours_may_share_side_features_but_no_more() -> None:
    """A low first loss tells less where items resemble each other by more than their ids."""
    for found, fires in ((2.76, False), (1.6, True)):
        loss = FirstLoss(found, expected=8.16, equal_scores=6.1, rows=512)
        warning = odd_first_loss(loss, temperature=0.07, side_features=True)
        assert (warning is not None) == fires


def test_items_of_one_album_are_no_leak() -> None:
    """Users hear albums through, whose tracks share all but their ids; histories hold no target."""
    rng, albums, tracks = np.random.default_rng(3), 60, 8
    heard = np.stack([rng.choice(albums, 4, replace=False) for _ in range(400)])
    track = np.stack([rng.permutation(tracks)[:5] for _ in range(1600)]).reshape(400, 4, 5)
    item = (heard[:, :, None] * tracks + track).reshape(-1)
    events = pa.table(
        {"user": np.repeat(np.arange(400), 20), "item": item, "timestamp": np.arange(8000)}
    )
    ids = np.arange(albums * tracks)
    columns = {"album": ids // tracks, "artist": ids // tracks // 2, "genre": ids // tracks % 7}
    items = pa.table({"item": ids, **{n: v.astype(str) for n, v in columns.items()}})
    data = prepare(
        RawData(events, items=items),
        split=SplitOptions(),
        features=FeatureOptions(),
        embed_dim=16,
        seed=0,
    )
    # By this seed the first batch's histories end amid an album; a next one tells nothing.
    trainer = MatchTrainer(make_model("youtube_dnn", data), "listwise", n_epoch=1, seed=1)
    trainer.fit(data)
    first = trainer.figures["first_loss"]
    assert first["found"] < LEAK * first["expected"]
    assert trainer.warnings == []


@pytest.mark.parametrize(
    ("before", "after", "spread", "steps", "fires"),
    [
        (7.0, 7.003, 0.0, 50, True),
        (7.0, 7.003, 0.0, 48, False),
        (7.0, 6.95, 0.0, 50, False),
        (7.0, 6.95, 0.1, 50, True),  # the standard error of the difference is 0.1 / 5 * 1.41
        (7.0, 6.9, 9.0, 50, False),
        (3.0, 3.0, 0.0, 500, False),  # far below the 7 of chance: trained before
    ],
)
def test_loss_did_not_move_by_hand(
    before: float, after: float, spread: float, steps: int, fires: bool
) -> None:
    losses = [mean + (-1) ** n * spread for mean in (before, after) for n in range(steps // 2)]
    assert (loss_did_not_move(losses, chance=7.0) is not None) == fires


@pytest.mark.parametrize(
    ("entropy", "temperature", "cure"),
    [
        ((0.004, 0.003), 0.0005, "raise"),
        ((0.004, 0.5), 0.005, None),  # it recovered
        ((0.9, 0.004), 0.02, None),  # it learned
        ((1.0, 0.9995), 100.0, "lower"),
        ((1.0, 0.9995), 1.0, None),  # a dot product that had no time to grow
        ((None, None), 100.0, None),
    ],
)
def test_saturated_temperature_by_hand(
    entropy: tuple[float | None, float | None], temperature: float, cure: str | None
) -> None:
    assert saturated_temperature(entropy, temperature=temperature, steps=49) is None
    found = saturated_temperature(entropy, temperature=temperature, steps=50)
    assert found is None if cure is None else found is not None and f"Please {cure}" in found.text


def test_gradient_rules_by_hand() -> None:
    assert zero_gradient(["user_tower"], samples=2) is None
    assert zero_gradient([], samples=9) is None
    found = zero_gradient(["user_tower"], samples=3)
    assert found is not None and "user_tower was exactly 0 at all 3 steps" in found.text
    first, last = {"a": 2.0, "b": 1.0}, {"a": [4.0, 201.0], "b": [99.0]}
    found = exploding_gradient(first, last, worse=True)
    assert found is not None and "a (from 2 to 201)" in found.text and "b (" not in found.text
    assert exploding_gradient(first, last, worse=False) is None
    assert exploding_gradient({"a": 0.0}, {"a": [9.0]}, worse=True) is None
    assert exploding_gradient({"a": 1.0}, {"a": []}, worse=True) is None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", ["pointwise", "pairwise", "listwise"])
def test_a_sane_run_has_no_warning(name: str, mode: str, tiny: MatchData) -> None:
    trainer = fitted(make_model(name, tiny), tiny, mode, n_epoch=9, batch_size=16)
    assert trainer.warnings == []


@pytest.mark.parametrize("n_epoch", [1, 2])
def test_a_short_run_has_no_warning(n_epoch: int, tiny: MatchData) -> None:
    for name in NAMES:
        assert fitted(make_model(name, tiny), tiny, lr=1e-3, n_epoch=n_epoch).warnings == []


@pytest.mark.parametrize("mode", ["pointwise", "pairwise", "listwise"])
def test_a_rate_of_zero_is_seen(mode: str, known: MatchData) -> None:
    assert names(fitted(make_model("dssm", known), known, mode, lr=0.0)) == {"loss_did_not_move"}


@pytest.mark.parametrize("mode", ["pointwise", "pairwise", "listwise"])
def test_saturating_temperatures_are_seen(mode: str, tiny: MatchData) -> None:
    for temperature, cure in ((100.0, "lower"), (0.0002, "raise")):
        trainer = fitted(make_model("dssm", tiny, temperature=temperature), tiny, mode, lr=1e-3)
        texts = [w.text for w in trainer.warnings if w.name == "saturated_temperature"]
        assert len(texts) == 1 and f"Please {cure}" in texts[0]
        assert ("odd_first_loss" in names(trainer)) == (cure == "raise")


def cut(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
    """A forward hook: no gradient passes."""
    return output.detach()


def test_a_tower_without_gradient_is_seen(tiny: MatchData) -> None:
    model = make_model("dssm", tiny)
    model.user_tower.register_forward_hook(cut)
    (warning,) = fitted(model, tiny, n_epoch=9).warnings
    assert warning.name == "zero_gradient"
    assert "user_tower" in warning.text and "item_tower" not in warning.text


def test_a_detached_history_is_seen(tiny: MatchData) -> None:
    model = make_model("mind", tiny, tied=False)
    history = model.user_tower.history
    assert isinstance(history, nn.Module)
    history.register_forward_hook(lambda _module, _inputs, past: past.map(torch.detach))
    (warning,) = fitted(model, tiny, n_epoch=9).warnings
    assert warning.name == "zero_gradient" and "user_tower.history" in warning.text


def test_what_is_frozen_on_purpose_is_no_fault(tiny: MatchData) -> None:
    model = make_model("dssm", tiny)
    model.user_tower.requires_grad_(False)
    assert fitted(model, tiny, n_epoch=9).warnings == []


def test_divergence_is_seen(tiny: MatchData) -> None:
    model = make_model("dssm", tiny, similarity="dot", temperature=1.0)
    trainer = fitted(model, tiny, lr=1.0, n_epoch=9, batch_size=16)
    assert "exploding_gradient" in names(trainer)


def test_weights_trained_before_show_in_the_first_loss_of_another_trainer(tiny: MatchData) -> None:
    model = make_model("youtube_dnn", tiny)
    trainer = fitted(model, tiny)
    assert trainer.warnings == []
    trainer.n_epoch = 1
    trainer.fit(tiny)
    assert trainer.warnings == []
    (warning,) = fitted(model, tiny, n_epoch=1).warnings
    assert warning.name == "odd_first_loss" and "trained before" in warning.text


class SeesTarget(MatchingModel):
    """The user's vector is ``sign`` times that of the item ``seen``."""

    def __init__(self, sign: int) -> None:
        seen = SparseFeature("seen", vocab_size=500, embed_dim=16)
        super().__init__(
            [seen],
            [SparseFeature("item_id", vocab_size=500, embed_dim=16)],
            temperature=0.07,
            similarity="cosine",
        )
        table = nn.Embedding(500, 16)
        self.user_tower, self.item_tower = Unit(table, "seen", sign), Unit(table, "item_id", 1)


class Unit(nn.Module):
    def __init__(self, table: nn.Embedding, column: str, sign: int) -> None:
        super().__init__()
        self.table, self.column, self.sign = table, column, sign

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.sign * nn.functional.normalize(self.table(batch[self.column]), dim=-1)


@pytest.mark.parametrize(("sign", "text"), [(1, "shows the target"), (-1, "prefers anything")])
@pytest.mark.parametrize("mode", ["pointwise", "pairwise", "listwise"])
def test_an_input_that_shows_the_target_is_seen(mode: str, sign: int, text: str) -> None:
    torch.manual_seed(0)
    ids = torch.arange(256)
    batch = {"seen": ids, "item_id": ids}
    trainer = MatchTrainer(SeesTarget(sign), mode, {"lr": 1e-3}, 1)
    trainer.fit([(batch, torch.ones(256))])
    assert [w.name for w in trainer.warnings] == ["odd_first_loss"]
    assert text in trainer.warnings[0].text


@pytest.mark.parametrize("name", NAMES)
def test_users_who_come_back_to_their_items_are_well(name: str) -> None:
    """A user who starts near the history finds a repeat at once, and nothing shows the target."""
    rng = np.random.default_rng(0)
    own = rng.integers(0, 200, (60, 1, 2))  # two items a user
    items = np.take_along_axis(own, rng.integers(0, 2, (60, 8, 1)), axis=2)
    columns = {"user": np.repeat(np.arange(60), 8), "item": items.ravel()}
    events = pa.table(columns | {"timestamp": np.tile(np.arange(8), 60)})
    features = FeatureOptions(max_len=MAX_LEN)
    data = prepare(RawData(events), split=SplitOptions(), features=features, embed_dim=16, seed=0)
    for exclude in ("none", "seen"):
        negatives = NegativeOptions("full", exclude=exclude)
        trainer = fitted(make_model(name, data), data, n_epoch=1, negatives=negatives)
        first = trainer.figures["first_loss"]
        assert trainer.warnings == []
        assert first["found"] == pytest.approx(first["expected"], rel=0.2)


def test_equal_scores_have_the_loss_of_chance(tiny: MatchData) -> None:
    """ln C of C candidates, ln 2 for BPR and BCE; drawn with logQ, about the catalogue's ln C.

    The k-th of a user's 7 events has the k - 1 before it as no candidates (but for a target of
    another user that is among them).
    """
    size = len(tiny.trained_items)
    full = {"negatives": NegativeOptions("full", exclude="none")}
    drawn = {"negatives": NegativeOptions("uniform", num_negatives=4096, exclude="none")}
    for mode, more, expected in (
        ("pointwise", {}, math.log(2)),
        ("pairwise", {}, math.log(2)),
        ("listwise", full, math.log(size)),
        ("listwise", drawn, math.log(size)),
        ("listwise", LISTWISE, sum(math.log(size - seen) for seen in range(7)) / 7),
    ):
        trainer = fitted(make_model("mind", tiny), tiny, mode, n_epoch=1, **more)
        first = trainer.figures["first_loss"]
        assert first["equal_scores"] == pytest.approx(
            expected, abs=2e-2 if more is LISTWISE else 5e-3
        )
        assert first["found"] == pytest.approx(first["expected"], rel=0.2)
        assert first["rows"] == 84


def test_the_watch_leaves_the_run_as_it_was(
    tiny: MatchData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dropout and batch norm: the same weights to the bit as without a look."""
    tower = {"dims": [32, 16], "dropout": 0.3, "norm": "batch"}
    found = []
    for blind in (False, True):
        if blind:
            monkeypatch.setattr(watch, "first_loss", lambda *_: FirstLoss(1.0, 1.0, 1.0, 0))
            monkeypatch.setattr(watch, "score_entropy", lambda *_: None)
        model = make_model("dssm", tiny, user_params=tower, item_params=tower)
        fitted(model, tiny, n_epoch=3, batch_size=16)
        found.append([*model.parameters(), *model.buffers()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_gradient_norms_by_hand(tiny: MatchData) -> None:
    """Steps 1, 2 and 4 of an epoch are looked at; a part's norm is over all its tensors."""
    model = make_model("dssm", tiny)
    norms = GradientNorms(model)
    assert list(norms.parts) == ["embeddings", "user_tower", "item_tower"]
    sizes = {part: sum(p.numel() for p in named.values()) for part, named in norms.parts.items()}
    assert sum(sizes.values()) == sum(p.numel() for p in model.parameters())
    for step in (1, 2, 3, 4, 5):
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, float(step))
        norms.step()
    mean = (1 + 2 + 4) / 3
    assert norms.epoch() == pytest.approx({p: mean * n**0.5 for p, n in sizes.items()}, rel=1e-5)
    assert norms.untouched() == [] and norms.samples == 3


@pytest.fixture
def skewed(tmp_path: Path) -> Path:
    """300 users who mostly take the same few items."""
    items = (60 * np.random.default_rng(0).random(3000) ** 3).astype(int)
    rows = [f"u{n % 300},i{item},{n}" for n, item in enumerate(items)]
    file = tmp_path / "log.csv"
    file.write_text("\n".join(["user_id,item_id,timestamp", *rows]))
    return file


def test_a_run_records_and_prints_its_warnings(
    skewed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rate of next to nothing: the loss stands still, below popularity."""
    words = [
        *("data=table", f"data.path={skewed}", "model=dssm", "export=none"),
        *("trainer.n_epoch=15", "trainer.patience=null", "trainer.threads=1"),
        *("trainer.optimizer_params.lr=1e-20", "evaluation.mask_seen=false"),
    ]
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        values = plain(hydra.compose("train", overrides=words))
    train.run(resolve(RunConfig, values, origin=Origin()), tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    assert [w["name"] for w in manifest["warnings"]] == ["loss_did_not_move", "below_floor"]
    assert manifest["sanity"]["unseen_targets"] == {"test": 0.0, "valid": 0.0}
    assert set(manifest["sanity"]["seen_targets"]) == {"test", "valid"}
    printed = capsys.readouterr()
    assert "targets never seen in training: valid 0 of 300 (0.0%)" in printed.out
    for warning in manifest["warnings"]:
        assert str(RunWarning(**warning)) in printed.out
    line = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert set(line["gradient_norms"]) == {"embeddings", "user_tower", "item_tower"}
