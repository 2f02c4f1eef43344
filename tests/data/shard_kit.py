"""Small clips and data sets for the tests of shards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from chronosplat.cameras import orbit
from chronosplat.data.clip import Clip
from chronosplat.data.shards import shard_name, write_shard


def small_clip(
    key: str = "clip", seed: int = 0, times: int = 4, views: int = 6, size: int = 16, geometry: bool = False, moving: bool = False
) -> Clip:
    """A clip of a coloured square that walks over the image: its place and colour tell time and view."""
    rng = np.random.default_rng(seed)
    frames = np.zeros((times, views, size, size, 4), np.uint8)
    shapes = np.zeros(frames.shape, np.float16)
    base = rng.integers(0, 200, 3)
    for t in range(times):
        for v in range(views):
            top, left = (3 * t) % (size - 5), (2 * v) % (size - 5)
            frames[t, v, top : top + 4, left : left + 4, :3] = (base + [t, v, 0]) % 256
            frames[t, v, top : top + 4, left : left + 4, 3] = 255
            frames[t, v, top, left, 3] = 77
            shapes[t, v, top : top + 4, left : left + 4] = rng.normal(size=4)
    cameras = orbit([360 / views * i for i in range(views)], 10.0, size)
    viewmats = cameras.viewmats.numpy()
    if moving:
        viewmats = np.stack([orbit([360 / views * i + 5 * t for i in range(views)], 10.0, size).viewmats.numpy() for t in range(times)])
    return Clip(
        key=key,
        frames=frames,
        geometry=shapes if geometry else None,
        viewmats=viewmats,
        Ks=cameras.Ks.numpy(),
        width=size,
        height=size,
        seconds=np.arange(times) / 24,
        groups={"fixed": list(range(views // 2)), "random": list(range(views // 2, views))},
        facts={"uid": f"uid-{key}", "licence": "CC0-1.0", "number": seed},
    )


def data_set(folder: Path | str, clips: int = 6, per_shard: int = 2, **options: int) -> str:
    """Write a data set of small clips; return its address."""
    for shard in range(-(-clips // per_shard)):
        numbers = range(shard * per_shard, min((shard + 1) * per_shard, clips))
        write_shard(f"{folder}/{shard_name(shard)}", (small_clip(f"clip{i:03d}", i, **options) for i in numbers))
    return str(folder)


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors are equal in shape and every bit."""
    return one.shape == other.shape and bool(torch.equal(one, other))
