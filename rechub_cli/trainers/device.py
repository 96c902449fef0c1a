"""Where a model trains, and how its matrices are multiplied there."""

from __future__ import annotations

import ctypes
import platform

import torch
from torch import nn

from rechub_cli.checks import check, check_known
from rechub_cli.errors import ConfigError
from rechub_cli.trainers.options import FP32, StepOptions
from rechub_cli.trainers.rules import compile_rule

DEVICES = ("auto", "cpu", "cuda")
X86 = ("x86_64", "AMD64")


def pick_device(name: str, options: StepOptions = FP32) -> torch.device:
    """auto: CUDA where there is one.

    Raises ConfigError for cuda without one, and for options that do not pay on what was found.
    """
    check_known("device", name, DEVICES)
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise ConfigError("device=cuda, and torch finds no CUDA GPU here: use device=auto or cpu")
    kind = "cuda" if found and name != "cpu" else "cpu"
    check(
        options,
        (
            options.precision == "bf16" and kind == "cpu" and not has_amx(),
            "precision|is slower on a CPU without AMX (measured: steps of SASRec and YoutubeDNN "
            "take 1.1 times as long with AVX512-BF16, 1.2 to 1.6 times without): use fp32, or "
            "device=cuda",
        ),
        compile_rule(options.compile, kind),
    )
    return torch.device(kind)


def check_fp32(model: nn.Module) -> None:
    """Raise ConfigError for a model whose weights are of another precision."""
    for name, weight in model.named_parameters():
        if weight.dtype != torch.float32:
            raise ConfigError(
                f"model: {name} is of {str(weight.dtype).removeprefix('torch.')}; needed: float32 "
                "(model.float(); precision='bf16' trains in half of it)"
            )


def has_amx() -> bool | None:
    """Whether the CPU multiplies bf16 matrices in tiles (AMX); None where torch cannot tell."""
    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)  # private: it may go
    return None if supported is None else bool(supported())


def choose_matmul() -> None:
    """Multiply fp32 matrices by oneDNN in place of MKL, which is slow on CPUs of other makers.

    torch takes oneDNN for fp32 only where it may round to bf16. On x86 oneDNN does so with AMX
    alone; without it the products stay exact fp32 (measured on a Zen 5 core: 230 GFLOP/s against
    MKL's 45, with the same largest error). Elsewhere, as on ARM, it may round: left as it is.
    """
    if platform.machine() in X86 and has_amx() is False:
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"  # type: ignore[attr-defined] # no stub


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of glibc's mallopt."""


def keep_freed_memory() -> None:
    """Let glibc hand freed memory to the next allocation instead of back to the system.

    A step frees and takes the same large tensors again, and each page that comes anew from the
    system must be zeroed and mapped: up to a quarter of the time of a step (Amazon Beauty's
    catalogue softmax). The process keeps its peak until it ends, so only commands, which own their
    process, do this. Another libc is left as it is.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
