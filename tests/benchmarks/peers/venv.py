"""Venvs of other libraries, made once and kept in the cache."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from rechub_cli.data.download import cache_dir

TORCH = "torch==2.13.0"
PACKAGES = {
    "torch_rechub": (TORCH, "torch-rechub==0.9.0", "pandas", "scikit-learn", "pyarrow"),
    "rectools": (TORCH, "rectools[torch]==0.19.0"),
    "implicit": ("implicit==0.7.3",),
    # It asks for NumPy's and pandas' names of 2023.
    "recbole": (TORCH, "recbole==1.2.1", "numpy<2", "scipy<1.12", "pandas<2.2"),
}


def peer_python(name: str) -> Path:
    """The Python of a peer's venv; makes the venv where there is none."""
    folder = cache_dir() / "peers" / name
    python = folder / "bin" / "python"
    done = folder / ".installed"
    if done.exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    print(f"installing {name} into {folder}", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES[name]], check=True)
    done.touch()
    return python
