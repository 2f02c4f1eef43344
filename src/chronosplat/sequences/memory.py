"""Choose how many frames of a forward pass fit into memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from chronosplat.memory import available_memory
from chronosplat.models.l4gm import L4GMConfig, forward_bytes, weight_bytes
from chronosplat.shapes import InputError

USUAL_CHUNK = 16  # frames of a forward pass, as in the paper's inference
KEEP_FREE = 0.9  # fraction of the available memory that is used


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
