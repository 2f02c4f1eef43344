"""How many frames of a forward pass fit into memory."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from chronosplat.models.l4gm import L4GMConfig, forward_bytes, weight_bytes
from chronosplat.shapes import InputError

USUAL_CHUNK = 16  # frames of a forward pass, as the paper's inference has
KEEP_FREE = 0.9  # fraction of the available memory that is used
NO_LIMIT = 1 << 60
GROUPS = Path("/sys/fs/cgroup")


def choose_chunk(requested: int | None, frames: int, config: L4GMConfig, dtype: torch.dtype, device: str, models: int = 1) -> int:
    """Frames of a forward pass: the requested number, else 16, or the largest that fits.

    Args:
        frames: how many there are at most. models: networks of this size that are in memory.

    Raises:
        InputError: not enough memory for the requested number (the largest that fits is named), or for any.
    """
    least = min(2, frames)  # of several frames, since chunks overlap by one
    if requested is not None and requested < least:
        raise InputError(f"chunk: expected at least 2 frames, because chunks overlap by one; got {requested}")
    wanted = min(frames, USUAL_CHUNK if requested is None else requested)
    room = KEEP_FREE * available_memory(device) - (models - 1) * weight_bytes(config, dtype)
    largest = max((n for n in range(least, wanted + 1) if forward_bytes(config, n, dtype) <= room), default=0)
    if largest == wanted or (largest and requested is None):
        return largest
    tried = wanted if largest else least
    need, free = forward_bytes(config, tried, dtype) / 2**30, max(room, 0) / 2**30
    problem = f"chunk: {tried} frames take about {need:.1f} GiB, {free:.1f} GiB are free"
    if largest:
        raise InputError(problem, "{chunk} fits", chunk=largest)
    raise InputError(f"{problem}; that is the least", "{precision} takes half" if dtype == torch.float32 else "", precision="bf16")


@contextmanager
def out_of_memory(chunk: int) -> Iterator[None]:
    """Turn a failed allocation into a message with a remedy.

    Raises:
        InputError: out of memory; names a smaller chunk.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate" not in str(error):
            raise
        less = "try {chunk}" if chunk > 2 else "try {precision}, or a machine with more"
        problem = f"chunk: out of memory with {chunk} frames at once"
        raise InputError(problem, less, chunk=max(2, chunk // 2), precision="bf16") from error


def available_memory(device: str) -> int:
    """Bytes that a process can still take on a device: what the system has free, within the limits of its group."""
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)[0]
    limits = [_meminfo() or _physical(), _group_limit()]
    return min(limits)


def _meminfo() -> int | None:
    path = Path("/proc/meminfo")
    if not path.is_file():
        return None
    facts = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
    return int(facts["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in facts else None


def _physical() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if sys.platform != "win32" else NO_LIMIT


def _group_limit() -> int:
    """What the memory limits of the process's control groups leave (Linux, version 2), those around its own included."""
    own = next((line[3:] for line in _lines(Path("/proc/self/cgroup")) if line.startswith("0::")), "")
    inner = GROUPS / own.strip("/")
    return min(_left_in(group) for group in (inner, *inner.parents) if group.is_relative_to(GROUPS))


def _left_in(group: Path) -> int:
    most, used = _lines(group / "memory.max"), _lines(group / "memory.current")
    if not most or not used or not most[0].isdigit():  # no such group, or no limit
        return NO_LIMIT
    droppable = [int(line.split()[1]) for line in _lines(group / "memory.stat") if line.startswith("inactive_file ")]
    return max(0, int(most[0]) - int(used[0]) + sum(droppable))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
