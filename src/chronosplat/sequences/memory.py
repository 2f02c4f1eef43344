"""Choose how many frames of a forward pass fit into memory."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from chronosplat.models.l4gm import L4GMConfig, forward_bytes, weight_bytes
from chronosplat.shapes import InputError

USUAL_CHUNK = 16  # frames of a forward pass, as in the paper's inference
KEEP_FREE = 0.9  # fraction of the available memory that is used
NO_LIMIT = 1 << 60
GROUPS = Path("/sys/fs/cgroup")


def choose_chunk(requested: int | None, frames: int, config: L4GMConfig, dtype: torch.dtype, device: str, models: int = 1) -> int:
    """Choose the frames of a forward pass: the requested number, else 16, or the largest that fits.

    Args:
        frames: length of the video. models: number of networks of this size in memory.

    Raises:
        InputError: not enough memory for the requested number (names the largest that fits), or for any.
    """
    least = min(2, frames)  # chunks overlap by one
    if requested is not None and requested < least:
        raise InputError(f"chunk: expected at least 2 frames, because chunks overlap by one; got {requested}")
    target = min(frames, USUAL_CHUNK if requested is None else requested)
    room = KEEP_FREE * available_memory(device) - (models - 1) * weight_bytes(config, dtype)
    largest = max((n for n in range(least, target + 1) if forward_bytes(config, n, dtype) <= room), default=0)
    if largest == target or (largest and requested is None):
        return largest
    tried = target if largest else least
    need, free = forward_bytes(config, tried, dtype) / 2**30, max(room, 0) / 2**30
    problem = f"chunk: {tried} frames take about {need:.1f} GiB, {free:.1f} GiB are free"
    if largest:
        raise InputError(problem, "{chunk} fits", chunk=largest)
    raise InputError(f"{problem}; that is the least", "{precision} takes half" if dtype == torch.float32 else "", precision="bf16")


@contextmanager
def out_of_memory(chunk: int) -> Iterator[None]:
    """Convert a failed allocation to an InputError that names a smaller chunk."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate" not in str(error):
            raise
        less = "try {chunk}" if chunk > 2 else "try {precision}, or a machine with more"
        problem = f"chunk: out of memory with {chunk} frames at once"
        raise InputError(problem, less, chunk=max(2, chunk // 2), precision="bf16") from error


def available_memory(device: str) -> int:
    """Return the bytes that a process can still allocate on a device: free memory within its cgroup's limits."""
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)[0]
    free = next((int(line.split()[1]) * 1024 for line in _lines(Path("/proc/meminfo")) if line.startswith("MemAvailable:")), None)
    if free is None:  # not Linux
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if sys.platform != "win32" else NO_LIMIT
    return min(free, _group_limit())


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
