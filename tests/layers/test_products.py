"""The precision of products is the process's: whoever changes it leaves it as it was."""

from __future__ import annotations

import threading

import pytest
import torch

from rechub_cli.layers.products import matmul_precision

MATMUL = torch.backends.mkldnn.matmul


def test_it_is_put_back_also_after_an_error() -> None:
    before = MATMUL.fp32_precision
    with pytest.raises(ValueError), matmul_precision("bf16"):
        with matmul_precision("ieee"):
            assert MATMUL.fp32_precision == "ieee"
        assert MATMUL.fp32_precision == "bf16"
        raise ValueError
    assert MATMUL.fp32_precision == before


def test_two_threads_do_not_mix_theirs() -> None:
    before, entered = MATMUL.fp32_precision, threading.Event()

    def other() -> None:
        entered.set()
        with matmul_precision("ieee"):
            seen.append(MATMUL.fp32_precision)

    seen: list[str] = []
    with matmul_precision("bf16"):
        thread = threading.Thread(target=other)
        thread.start()
        assert entered.wait(10)
        thread.join(0.2)
        assert thread.is_alive() and MATMUL.fp32_precision == "bf16"
    thread.join(10)
    assert seen == ["ieee"] and MATMUL.fp32_precision == before
