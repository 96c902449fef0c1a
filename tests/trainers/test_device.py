"""Which library multiplies, and that its products stay fp32."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from rechub_cli.trainers.device import X86, choose_matmul

MATMUL = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _unchosen() -> Iterator[None]:
    before = MATMUL.fp32_precision
    MATMUL.fp32_precision = "none"
    yield
    MATMUL.fp32_precision = before


@pytest.mark.parametrize("shape", [(64, 64, 64), (512, 128, 3416), (3416, 512, 64)])
def test_products_are_as_exact_as_fp32(shape: tuple[int, int, int]) -> None:
    """bf16 would keep 8 bits of each factor: an error of about 1e-2 here."""
    rows, inner, columns = shape
    choose_matmul()
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(rows, inner, generator=generator)
    b = torch.randn(inner, columns, generator=generator)
    error = (a @ b).double() - a.double() @ b.double()
    assert error.abs().max() < 1e-6 * inner


@pytest.mark.parametrize(
    ("machine", "amx", "chosen"),
    [("x86_64", False, True), ("x86_64", True, False), ("aarch64", False, False)],
)
def test_only_cpus_that_do_not_round_are_switched(
    machine: str, amx: bool, chosen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    choose_matmul()
    assert (MATMUL.fp32_precision == "bf16") is chosen


def test_a_torch_that_cannot_tell_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: X86[0])
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported")
    choose_matmul()
    assert MATMUL.fp32_precision != "bf16"


NEW_PAGES = """
import resource, torch
from rechub_cli.trainers.device import keep_freed_memory

def new_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(12 << 20)  # 48 MiB, 12,288 pages: above 32 MiB glibc never adapts by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

keep_freed_memory()
print(min(new_pages() for _ in range(3)))
"""
"""In a process of its own: where the heap of a test session lies in pieces, which piece serves an
allocation depends on the tests before."""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another libc is left as it is")
def test_freed_memory_serves_the_next_allocation() -> None:
    asked = [sys.executable, "-c", NEW_PAGES]
    found = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert int(found.stdout) < 4096
