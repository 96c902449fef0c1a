"""What a run holds in memory, and what there is."""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rechub_cli.cost.steps import state_bytes
from rechub_cli.trainers.optimizers import build_optimizer

CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def weight_bytes(model: nn.Module) -> int:
    """Bytes of parameters and buffers, each once."""
    tensors = {id(t): t for t in (*model.parameters(), *model.buffers())}
    return sum(t.numel() * t.element_size() for t in tensors.values())


def state_factor(optimizer_params: Mapping[str, Any]) -> float:
    """Bytes of optimizer state a byte of an embedding table, from a step on a small one."""
    table = nn.Embedding(64, 64)
    optimizer = build_optimizer(table, optimizer_params)
    table(torch.arange(64)).sum().backward()
    optimizer.step()
    return state_bytes(optimizer) / weight_bytes(table)


def peak_bytes(device: torch.device | None = None) -> int:
    """Largest memory so far: resident, of this process (Linux counts in KiB), or on a GPU."""
    if device is not None and device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def memory_limit(device: torch.device) -> int:
    """Bytes that a run may take: the GPU's, or the machine's within the process's own limits."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    limits += [int(text) for text in map(_read, CGROUP_LIMITS) if text.isdigit()]
    return min(limits)


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
