"""How much memory a process can still allocate."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

NO_LIMIT = 1 << 60
GROUPS = Path("/sys/fs/cgroup")


def available_memory(device: str) -> int:
    """Return the bytes that a process can still allocate on a device: free memory within its cgroup's limits."""
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)[0]
    free = next((int(line.split()[1]) * 1024 for line in _lines(Path("/proc/meminfo")) if line.startswith("MemAvailable:")), None)
    if free is None:  # not Linux
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if sys.platform != "win32" else NO_LIMIT
    return min(free, _group_limit())


def peak_memory() -> int:
    """Return the most bytes that this process has held at once; 0 where the system does not say."""
    try:
        import resource  # not on Windows
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _group_limit() -> int:
    """Return what the memory limits of the process's cgroup and its parents leave (Linux, version 2)."""
    own = next((line[3:] for line in _lines(Path("/proc/self/cgroup")) if line.startswith("0::")), "")
    inner = GROUPS / own.strip("/")
    return min(_left_in(group) for group in (inner, *inner.parents) if group.is_relative_to(GROUPS))


def _left_in(group: Path) -> int:
    limit, used = _lines(group / "memory.max"), _lines(group / "memory.current")
    if not limit or not used or not limit[0].isdigit():  # no such group, or no limit
        return NO_LIMIT
    reclaimable = [int(line.split()[1]) for line in _lines(group / "memory.stat") if line.startswith("inactive_file ")]
    return max(0, int(limit[0]) - int(used[0]) + sum(reclaimable))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
