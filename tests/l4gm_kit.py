"""Tiny networks of L4GM's kind with random weights, in memory and as files."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import torch

from chronosplat.models import to_l4gm
from chronosplat.models.l4gm import L4GM, L4GMConfig, UNetConfig
from chronosplat.models.weights import save_weights

UNET = UNetConfig(
    down_channels=(8, 8, 16),
    down_attention=(False, False, True),
    up_channels=(16, 8),
    up_attention=(True, False),
    heads=2,
    groups=4,
    layers=1,
)
TINY = L4GMConfig(UNET, input_size=32, splat_size=16)
TINY_LGM = L4GMConfig(replace(UNET, temporal=False), input_size=32, splat_size=16, frames=1)


def tiny_model(seed: int = 0, config: L4GMConfig = TINY) -> L4GM:
    """A network whose Gaussians lie around the origin and are visible."""
    torch.manual_seed(seed)
    model = L4GM(config).eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    model.conv.weight *= 6  # so that its input shows in its output
    return model


def tiny_file(path: Path, seed: int = 0, config: L4GMConfig = TINY) -> Path:
    """A weights file with its config."""
    save_weights(asdict(config), "l4gm", to_l4gm(tiny_model(seed, config)), path)
    return path


def write_views(folder: Path, size: int = 32, seed: int = 5) -> Path:
    """Four views of a coloured block on white, equally high, in ``folder``."""
    from chronosplat.multiview import save_views

    views = torch.ones(4, size, size, 3)
    generator = torch.Generator().manual_seed(seed)
    for view in views:
        view[size // 4 : 3 * size // 4, size // 3 : 2 * size // 3] = 0.8 * torch.rand(3, generator=generator)
    save_views(views, folder)
    return folder
