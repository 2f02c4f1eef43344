"""LGM's augmentations of generated views, which agree with each other less than renderings do (LGM, section 3.3)."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from chronosplat.cameras import Cameras, Similarity

CELLS = (8, 16)  # of the distorted grid, along an edge


def distort_grid(image: Tensor, rng: np.random.Generator, strength: float = 0.5) -> Tensor:
    """Stretch and squeeze an image by a grid whose lines are moved at random; the border stays.

    Args:
        image: [H, W, 4] uint8, straight RGBA. strength: how far a line moves, as a fraction of the grid's cells, below 1.
    """
    H, W, _ = image.shape
    lookup = [torch.from_numpy(_moved_lines(side, rng, strength)) for side in (W, H)]
    grid = torch.stack(torch.meshgrid(lookup[0], lookup[1], indexing="xy"), -1).float()[None]
    pixels = image.float()
    premultiplied = torch.cat([pixels[..., :3] * pixels[..., 3:], pixels[..., 3:]], -1).permute(2, 0, 1)[None]
    moved = F.grid_sample(premultiplied, grid, align_corners=False, padding_mode="border")[0].permute(1, 2, 0)
    color = moved[..., :3] / moved[..., 3:].clamp_min(1e-6)
    return torch.cat([color, moved[..., 3:]], -1).round().clamp(0, 255).to(torch.uint8)


def _moved_lines(side: int, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Where each of ``side`` pixels is read from, in [-1, 1]; never backwards."""
    lines = np.linspace(-1, 1, int(rng.integers(CELLS[0], CELLS[1] + 1)) + 1)
    gap = lines[1] - lines[0]
    moved = lines.copy()
    moved[1:-1] += rng.uniform(-strength, strength, len(lines) - 2) * gap / 2
    return np.interp((2 * np.arange(side) + 1) / side - 1, lines, moved)


def jitter_cameras(cameras: Cameras, rng: np.random.Generator, strength: float = 0.1) -> Cameras:
    """Turn each camera about the world's origin by random angles.

    Args:
        strength: 1 is up to 180 degrees about the image's up, and 90 about its right.
    """
    viewmats = cameras.viewmats.clone()
    for i in range(len(cameras)):
        about_up, about_right = rng.uniform(-1, 1, 2) * strength * math.pi * np.array([1, 0.5])
        turn = _rotation(cameras.ups[i], about_up) @ _rotation(cameras.viewmats[i, 0, :3], about_right)
        viewmats[i] = cameras[i].transformed(Similarity(rotation=turn)).viewmats[0]
    return Cameras(viewmats, cameras.Ks, cameras.width, cameras.height)


def _rotation(axis: Tensor, angle: float) -> Tensor:
    """Return the rotation [3, 3] about a unit axis."""
    x, y, z = axis.double().tolist()
    cross = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
    return torch.linalg.matrix_exp(cross * angle)
