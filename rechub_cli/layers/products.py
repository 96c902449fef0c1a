"""Which kernels multiply fp32 matrices on a CPU."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_CHANGING = threading.RLock()


@contextmanager
def matmul_precision(precision: str) -> Iterator[None]:
    """oneDNN's products of fp32 matrices inside: ``bf16`` allows it to round their factors there,
    ``ieee`` does not, and torch then multiplies by MKL where it has it.

    The setting is the process's: one thread at a time is inside, the others wait."""
    matmul = torch.backends.mkldnn.matmul  # type: ignore[attr-defined] # no stub
    with _CHANGING:
        before, matmul.fp32_precision = matmul.fp32_precision, precision
        try:
            yield
        finally:
            matmul.fp32_precision = before
