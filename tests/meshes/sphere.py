"""A sphere of flat Gaussians, whose surface is known."""

from __future__ import annotations

import math

import torch
from torch.nn.functional import normalize

from chronosplat.scenes import Gaussians3D, matrices_to_quats

RADIUS = 0.5
CENTER = (0.1, 0.2, -0.3)


def sphere(count: int = 2000, center: tuple[float, float, float] = CENTER, radius: float = RADIUS, opacity: float = 0.95) -> Gaussians3D:
    """Discs on an even spiral; the colour of a point is its direction from the centre."""
    index = torch.arange(count) + 0.5
    z, angle = 1 - 2 * index / count, math.pi * (3 - math.sqrt(5)) * index
    out = torch.stack([(1 - z * z).sqrt() * angle.cos(), (1 - z * z).sqrt() * angle.sin(), z], -1)
    other = torch.where(out[:, 2:].abs() > 0.9, torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 0, 1]))
    x = normalize(torch.linalg.cross(other, out), dim=-1)
    turns = matrices_to_quats(torch.stack([x, torch.linalg.cross(out, x), out], -1).double()).float()
    side = sigma(count, radius)
    scales = torch.tensor([side, side, side / 10]).repeat(count, 1)
    return Gaussians3D(out * radius + torch.tensor(center), turns, scales, torch.full((count,), opacity), (out + 1) / 2)


def sigma(count: int, radius: float = RADIUS) -> float:
    """The standard deviation of the discs along the surface."""
    return 0.6 * radius * math.sqrt(4 * math.pi / count)
