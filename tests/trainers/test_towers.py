"""bf16 and compiled towers: fp32 outside, near fp32 inside, and refused where they do not pay."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from rechub_cli.data.dataset import MatchData
from rechub_cli.errors import ConfigError
from rechub_cli.models.matching.base import MatchingModel
from rechub_cli.trainers import device, towers
from rechub_cli.trainers.device import pick_device
from rechub_cli.trainers.match_trainer import MatchTrainer
from rechub_cli.trainers.options import StepOptions
from rechub_cli.trainers.rules import MODES
from rechub_cli.trainers.towers import Towers
from tests.contract.conftest import make_model
from tests.trainers.test_match_trainer import quick_model, rows

BF16 = StepOptions("bf16")


@pytest.fixture
def amx(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU that is said to have AMX: bf16 is as exact without, only slower."""
    monkeypatch.setattr(device, "has_amx", lambda: True)
    monkeypatch.setattr(towers, "has_amx", lambda: True)


def gradient(model: MatchingModel, data: MatchData, mode: str, options: StepOptions) -> Tensor:
    """Of the trainer's first batch, all parameters in one vector."""
    trainer = MatchTrainer(model, mode)
    trainer.step_options = options
    loss, _ = next(trainer._steps(data).losses(1))
    assert loss.dtype == torch.float32
    loss.backward()  # type: ignore[no-untyped-call]
    found = {p: p.grad for p in model.parameters()}
    assert all(g is None or g.dtype == torch.float32 for g in found.values())
    return torch.cat(
        [(torch.zeros_like(p) if g is None else g).flatten() for p, g in found.items()]
    )


@pytest.mark.parametrize("mode", MODES)
def test_bf16_gradients_are_those_of_fp32_but_for_rounding(
    mode: str, name: str, tiny: MatchData, amx: None
) -> None:
    exact = gradient(make_model(name, tiny), tiny, mode, StepOptions())
    rounded = gradient(make_model(name, tiny), tiny, mode, BF16)
    off = ((rounded - exact).norm() / exact.norm()).item()
    assert 1e-5 < off < 0.1


def test_vectors_are_fp32_and_layers_bf16(tiny: MatchData, amx: None) -> None:
    model = make_model("sasrec", tiny)
    seen: set[torch.dtype] = set()
    for layer in model.modules():
        if isinstance(layer, torch.nn.Linear):
            layer.register_forward_hook(lambda _layer, _given, found: seen.add(found.dtype))
    features = next(tiny.window_loader(batch_size=4, seed=0).epoch(1)).features
    given = Towers(model, BF16)
    found = (given.users(features), given.positions(features))
    assert {t.dtype for t in found} == {torch.float32}
    assert seen == {torch.bfloat16}
    assert all(p.dtype == torch.float32 for p in model.parameters())


def test_rounded_products_end_with_the_step(tiny: MatchData, amx: None) -> None:
    matmul = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before, given = matmul.fp32_precision, Towers(make_model("dssm", tiny), BF16)
    with pytest.raises(KeyError), given.products():
        assert matmul.fp32_precision == "bf16"
        raise KeyError
    assert matmul.fp32_precision == before
    with Towers(given.model).products():
        assert matmul.fp32_precision == before


def test_training_in_bf16_leaves_an_fp32_checkpoint_and_evaluation(
    tiny: MatchData, tmp_path: Path, amx: None
) -> None:
    model = make_model("youtube_dnn", tiny)
    trainer = MatchTrainer(model, "listwise", n_epoch=2, precision="bf16", run_dir=tmp_path)
    trainer.fit(tiny)
    kept = load_file(tmp_path / "checkpoints" / "best" / "model.safetensors")
    assert {t.dtype for t in kept.values()} == {torch.float32}
    assert trainer.evaluate(tiny) == MatchTrainer(model, "listwise").evaluate(tiny)


def test_rows_of_a_dataloader_train_in_bf16(amx: None) -> None:
    batches = torch.utils.data.DataLoader(rows(), batch_size=16)  # type: ignore[arg-type,var-annotated]
    losses = []
    for precision in ("fp32", "bf16"):
        torch.manual_seed(0)
        trainer = MatchTrainer(quick_model(), 0, n_epoch=1, precision=precision)
        losses.append(trainer.fit(batches)[0].loss)
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


def traced(monkeypatch: pytest.MonkeyPatch, backend: str | Callable[..., Any]) -> StepOptions:
    """Compile by ``backend``, without the C++ compiler that the default one needs."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    return StepOptions(compile=True)


@pytest.mark.parametrize("name", ["sasrec", "mind"])
def test_compiled_towers_give_the_same_gradient(
    name: str, tiny: MatchData, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = gradient(make_model(name, tiny), tiny, "listwise", StepOptions())
    options = traced(monkeypatch, "eager")
    found = gradient(make_model(name, tiny), tiny, "listwise", options)
    torch.testing.assert_close(found, exact)


def test_a_compiler_that_fails_is_one_error(
    tiny: MatchData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("no C++ compiler")

    options = traced(monkeypatch, broken)
    with pytest.raises(ConfigError, match=r"compile=true.*no C\+\+ compiler.*use compile=false"):
        gradient(make_model("dssm", tiny), tiny, "listwise", options)


@pytest.mark.parametrize("found", [False, None])
def test_bf16_is_refused_on_a_cpu_without_amx(
    found: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "has_amx", lambda: found)
    with pytest.raises(ConfigError, match=r"precision='bf16' is slower on a CPU without AMX"):
        pick_device("cpu", BF16)
    assert pick_device("cpu").type == "cpu"


@pytest.mark.parametrize("name", ["auto", "cpu"])
def test_compiling_is_refused_on_a_cpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"compile=True is slower on a CPU"):
        pick_device(name, StepOptions(compile=True))


def test_what_pays_on_a_gpu_is_taken_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto", StepOptions("bf16", compile=True)).type == "cuda"


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"precision='bf61'.*Did you mean 'bf16'"):
        StepOptions("bf61")
