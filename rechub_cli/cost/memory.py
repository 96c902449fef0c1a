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
FOLLOWS = 16
"""A hidden layer of more widths of the vectors is what makes a model large."""


def weight_bytes(model: nn.Module) -> int:
    """Bytes of parameters and buffers, each once."""
    tensors = {id(t): t for t in (*model.parameters(), *model.buffers())}
    return sum(t.numel() * t.element_size() for t in tensors.values())


def smaller_weights(model: nn.Module, room: float, *, width: int, hidden: set[int]) -> str:
    """Which setting would bring the weights to ``room`` bytes.

    width: the vectors', which sides of a layer follow. hidden: widths of layers that do not.
    """
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    name, largest = max(model.named_parameters(), key=lambda named: named[1].numel())
    if id(largest) not in tables and any(s > FOLLOWS * width for s in {*largest.shape} & hidden):
        shape = " x ".join(f"{size:,}" for size in largest.shape)
        return f"The largest is {name}, {shape}: lower what makes it so wide (dims, hidden_dim)"
    growth = [
        (p.nbytes, 1 if id(p) in tables else sum(s >= width and s not in hidden for s in p.shape))
        for p in model.parameters()
    ]
    fits = width
    while fits > 1 and sum(size * (fits / width) ** power for size, power in growth) > room:
        fits //= 2
    hint = "; a higher features.min_count keeps fewer ids" if id(largest) in tables else ""
    return f"About model.embed_dim={fits} would fit{hint}"


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
    """Bytes that a run may take: the GPU's, or the machine's, or its control group's."""
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
