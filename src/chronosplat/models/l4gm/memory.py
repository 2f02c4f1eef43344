"""How much memory a forward pass of L4GM takes."""

from __future__ import annotations

from functools import cache

import torch

from chronosplat.models.l4gm.config import L4GMConfig
from chronosplat.models.l4gm.network import L4GM

BASE_BYTES = 400 << 20  # of a process that has loaded torch
WORKING_MAPS = 6  # of the largest size that are alive at once beside the skips


def forward_bytes(config: L4GMConfig, frames: int, dtype: torch.dtype) -> int:
    """An estimate of the memory that a process with the model takes for one forward pass of ``frames`` frames, in bytes."""
    unet = config.unet
    areas = [channels * (config.input_size >> level) ** 2 for level, channels in enumerate(unet.down_channels)]
    skips = areas[0] + sum(unet.layers * area for area in areas)
    maps = frames * config.views * dtype.itemsize * (skips + WORKING_MAPS * max(areas))
    return BASE_BYTES + weight_bytes(config, dtype) + maps


@cache
def weight_bytes(config: L4GMConfig, dtype: torch.dtype) -> int:
    """Memory of the weights."""
    with torch.device("meta"):
        return sum(p.numel() for p in L4GM(config).parameters()) * dtype.itemsize
