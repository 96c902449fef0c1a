"""What every test may use: the real data folder, and one thread of torch."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

# Read when OpenMP starts, so before torch; subprocesses of the tests inherit it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

ROOT = Path(__file__).resolve().parent.parent

# A script's background job has it ignored, and so would the processes that the tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Results are bit-equal only at one thread count.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets: RECHUB_TEST_DATA, else ``shared/data`` beside the checkout."""
    folder = Path(os.environ.get("RECHUB_TEST_DATA", ROOT.parent / "shared" / "data")).resolve()
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is no folder (set RECHUB_TEST_DATA)")
    return folder
