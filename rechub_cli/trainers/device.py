"""Where a model trains, and how its matrices are multiplied there."""

from __future__ import annotations

import ctypes
import platform

import torch

from rechub_cli.errors import ConfigError

DEVICES = ("auto", "cpu", "cuda")
X86 = ("x86_64", "AMD64")


def pick_device(name: str) -> torch.device:
    """auto: CUDA where there is one. Raises ConfigError for cuda without one."""
    if name not in DEVICES:
        raise ConfigError(f"device={name!r}; allowed: {', '.join(DEVICES)}")
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise ConfigError("device=cuda, and torch finds no CUDA GPU here: use device=auto or cpu")
    return torch.device("cuda" if found and name != "cpu" else "cpu")


def choose_matmul() -> None:
    """Multiply fp32 matrices by oneDNN in place of MKL, which is slow on CPUs of other makers.

    torch takes oneDNN for fp32 only where it may round to bf16. On x86 oneDNN does so with AMX
    alone; without it the products stay exact fp32 (measured on a Zen 5 core: 230 GFLOP/s against
    MKL's 45, with the same largest error). Elsewhere, as on ARM, it may round: left as it is.
    """
    has_amx = getattr(torch.cpu, "_is_amx_tile_supported", None)  # private: unknown means yes
    if platform.machine() in X86 and has_amx is not None and not has_amx():
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
