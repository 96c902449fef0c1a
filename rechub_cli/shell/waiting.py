"""How OpenMP's threads wait for each other. Decided before torch, which reads it, is imported."""

from __future__ import annotations

import os
import time
from collections.abc import MutableMapping
from pathlib import Path

SPINS = 5000
"""Looks at a shared flag, some 50 us, before a thread of libgomp sleeps."""
LOAD, LOOKS = Path("/proc/loadavg"), 5


def choose_waiting(environ: MutableMapping[str, str], load: Path = LOAD) -> None:
    """Let threads look for a moment before they sleep where cores are free, else sleep at once.

    A step has hundreds of short parallel parts, and to wake a thread takes as long as one of them:
    asleep, two threads take .7 to 1.3 of the time of one, looking .6 to .9 (steps of SASRec, MIND
    and YoutubeDNN). But where another job holds the core that the other thread needs, looking makes
    steps 1.2 to 2.3 times slower. Whatever the environment says already stands.
    """
    if "OMP_WAIT_POLICY" in environ:
        return
    environ["OMP_WAIT_POLICY"] = "PASSIVE"
    for look in range(LOOKS):
        if look:
            time.sleep(0.002)  # until what ran for a moment only, as a command's start, is through
        others = _others_running(load)
        if others is None:
            return
        if 4 * others <= _cores():
            environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
            return


def _others_running(load: Path) -> int | None:
    """Threads that run or wait for a core at this moment, but this one; None where unknown."""
    try:
        running = int(load.read_text().split()[3].split("/")[0])
    except (OSError, ValueError, IndexError):
        return None
    return running - 1 if running else None  # some sandboxes show none, not even this one


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
