"""Memory of an L4GM forward pass."""

from __future__ import annotations

from functools import cache

import torch

from chronosplat.models.l4gm.config import L4GMConfig
from chronosplat.models.l4gm.network import L4GM

BASE_BYTES = 400 << 20  # of a process that has loaded torch
WORKING_MAPS = 6  # of the largest size, alive at once beside the skips


def forward_bytes(config: L4GMConfig, frames: int, dtype: torch.dtype) -> int:
    """Estimate the bytes of a process with the model during one forward pass of ``frames`` frames."""
    unet = config.unet
    areas = [channels * (config.input_size >> level) ** 2 for level, channels in enumerate(unet.down_channels)]
    skips = areas[0] + sum(unet.layers * area for area in areas)
    maps = frames * config.views * dtype.itemsize * (skips + WORKING_MAPS * max(areas))
    return BASE_BYTES + weight_bytes(config, dtype) + maps


@cache
def weight_bytes(config: L4GMConfig, dtype: torch.dtype) -> int:
    """Return the bytes of the weights."""
    with torch.device("meta"):
        return sum(p.numel() for p in L4GM(config).parameters()) * dtype.itemsize
