"""How busy this machine is: a wall time says little without it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch

_STAT = Path("/proc/stat")
_IDLE = (3, 4)
"""Fields of the first line of /proc/stat that count idle time: idle and iowait (proc(5))."""


@dataclass(frozen=True)
class Machine:
    """Load at a moment."""

    load_1min: float | None
    """Load average of the last minute; None where the system has none."""
    cores: int
    """Cores this process may use."""
    cores_free: float | None
    """Cores that idled over the last second; None where the system does not tell."""
    gpu: str | None
    """Name of the GPU; None where there is none."""

    def __str__(self) -> str:
        """The load in words."""
        load = "load average unknown" if self.load_1min is None else f"load {self.load_1min:.2f}"
        free = "?" if self.cores_free is None else f"{self.cores_free:.1f}"
        gpu = "" if self.gpu is None else f", {self.gpu}"
        return f"{load}, {free} of {self.cores} cores free{gpu}"


def look(seconds: float = 1.0) -> Machine:
    """The load now; idle cores are counted over some seconds [s]."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    before = _times()
    time.sleep(seconds)
    free = None
    if before is not None and (after := _times()) is not None:
        free = min(idle_cores(before, after), float(cores))
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return Machine(load, cores, free, gpu)


def idle_cores(before: str, after: str) -> float:
    """Cores that idled between two readings of /proc/stat."""
    first, second = (
        [int(word) for word in text.splitlines()[0].split()[1:9]] for text in (before, after)
    )
    passed = [late - early for early, late in zip(first, second, strict=True)]
    cores = sum(line[3:4].isdigit() for line in after.splitlines() if line.startswith("cpu"))
    return cores * sum(passed[field] for field in _IDLE) / max(sum(passed), 1)


def _times() -> str | None:
    try:
        return _STAT.read_text(encoding="utf-8")
    except OSError:
        return None
