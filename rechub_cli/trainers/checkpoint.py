"""Checkpoints: safetensors and JSON in one folder, swapped in whole; nothing is pickled."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rechub_cli.errors import ConfigError, RechubError
from rechub_cli.trainers.places import find_checkpoint
from rechub_cli.trainers.reporter import EpochResult

TENSORS, STATE = "model.safetensors", "state.json"


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """A copy of every parameter and buffer, once (shared tables are one tensor)."""
    named = [*model.named_parameters(), *model.named_buffers()]
    return {
        name: t.detach().cpu().clone(memory_format=torch.contiguous_format) for name, t in named
    }


def load_tensors(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Copy tensors of ``model_tensors`` into a model of the same build."""
    own = dict([*model.named_parameters(), *model.named_buffers()])
    if own.keys() != tensors.keys():
        raise RechubError(
            f"the checkpoint has other tensors than the model; only there: "
            f"{sorted(tensors.keys() - own.keys())}, missing: {sorted(own.keys() - tensors.keys())}"
        )
    with torch.no_grad():
        for name, tensor in own.items():
            if tensor.shape != tensors[name].shape:
                raise RechubError(
                    f"{name} is {list(tensors[name].shape)} in the checkpoint and "
                    f"{list(tensor.shape)} in the model"
                )
            tensor.copy_(tensors[name])


def check_unused(folder: Path | None) -> None:
    """Raise ConfigError where another training's checkpoints are."""
    if folder is not None and find_checkpoint(folder / "best") is not None:
        raise ConfigError(f"{folder} holds another training's checkpoints: choose another run_dir")


def save_epoch(folder: Path | None, name: str, model: nn.Module, result: EpochResult) -> None:
    """Write the model after an epoch as ``folder/name``; without a folder nothing."""
    if folder is not None:
        state = {"epoch": result.epoch, "loss": result.loss, "valid": result.metrics}
        save_checkpoint(folder / name, model, state)


def save_checkpoint(folder: Path, model: nn.Module, state: dict[str, Any]) -> None:
    """Write ``folder`` whole: a reader sees the old checkpoint or the new one.

    state: plain data beside the tensors (epoch, step, metrics). Raises RechubError where there is
    no room for it, or no right to write.
    """
    fresh, old = (folder.with_name(f".{folder.name}.{suffix}") for suffix in ("new", "old"))
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        _write(fresh, model, state)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise RechubError(
            f"the checkpoint {folder} was not written: {error}. Make room, or choose another "
            "hydra.run.dir; what was there before is as it was"
        ) from None
    if folder.exists():
        # Only now may an older one aside go: a killed writer can have left nothing else.
        shutil.rmtree(old, ignore_errors=True)
        os.replace(folder, old)
    os.replace(fresh, folder)
    _sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _write(fresh: Path, model: nn.Module, state: dict[str, Any]) -> None:
    fresh.mkdir(parents=True)
    save_file(model_tensors(model), fresh / TENSORS)
    (fresh / STATE).write_text(json.dumps(state, indent=1, sort_keys=True) + "\n")
    shutil.copymode(fresh / STATE, fresh / TENSORS)  # its own lets the owner alone read it
    for name in (TENSORS, STATE):
        _sync(fresh / name)
    _sync(fresh)


def load_checkpoint(folder: Path, model: nn.Module) -> dict[str, Any]:
    """Fill the model from a checkpoint folder and return its state.

    Raises RechubError where it is missing, cut short or of another model.
    """
    folder = find_checkpoint(folder) or folder
    try:
        (folder / TENSORS).open("rb").close()  # or says why not, as load_file does not
        tensors = load_file(folder / TENSORS)
        state: dict[str, Any] = json.loads((folder / STATE).read_text())
    except FileNotFoundError as error:
        raise RechubError(f"no checkpoint at {folder}: {error.filename} is missing") from None
    except (SafetensorError, ValueError) as error:
        raise RechubError(f"the checkpoint at {folder} is damaged: {error}") from None
    load_tensors(model, tensors)
    return state


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
