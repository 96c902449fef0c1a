"""A device that is not the CPU, for machines that have none: its tensors are the CPU's in disguise.

Their device says ``meta``, so that code takes the way of any device but the CPU; every operation
is done on the CPU tensor that each holds. As on a GPU, an operation on tensors of two devices is an
error (but of a copy, a single number, or an index), and so is ``numpy()``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")
BETWEEN_DEVICES = ("copy_", "_to_copy", "index", "index_put_", "_index_put_impl_")


class Disguised(Tensor):
    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Disguised:
        found: Disguised = Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=DEVICE,
        )
        found.held = held
        return found

    def tolist(self) -> Any:
        return self.held.tolist()

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return _run(func, args, kwargs or {})


class _Everywhere(TorchDispatchMode):
    """Operations that make a tensor on the device from none of it."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    disguised = [x for x in given if isinstance(x, Disguised)]
    on_cpu = [x for x in given if not isinstance(x, Disguised) and x.dim() > 0]
    if disguised and on_cpu and func.overloadpacket.__name__ not in BETWEEN_DEVICES:
        raise RuntimeError(f"{func}: expected all tensors to be on the same device")
    asked = kwargs.get("device")
    there = bool(disguised) if asked is None else torch.device(asked) == DEVICE
    if torch.Tag.inplace_view in func.tags:
        with torch._C._DisableTorchDispatch():
            func(*args, **kwargs)  # the disguise's own shape follows
    own = kwargs if asked is None else kwargs | {"device": "cpu"}
    found = func(*tree_map(_held, args), **tree_map(_held, own))
    if not (there or disguised):
        return found
    before = {id(_held(x)): x for x in given}

    def named(x: Any) -> Any:
        if id(x) in before or not there or not isinstance(x, Tensor):
            return before.get(id(x), x)
        return Disguised(x)

    return tree_map(named, found)


def _held(x: Any) -> Any:
    return x.held if isinstance(x, Disguised) else x


@contextmanager
def pretend_device(patch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """Inside, the device that it gives can be used, and is what ``device=auto`` finds."""
    fused = "_get_fused_kernels_supported_devices"
    for module in [m for name, m in sys.modules.items() if name.startswith("torch.optim")]:
        if hasattr(module, fused):
            patch.setattr(module, fused, lambda: ["cpu", DEVICE.type])
    patch.setattr("rechub_cli.trainers.match_trainer.pick_device", lambda *_: DEVICE)
    with _Everywhere():
        yield DEVICE
