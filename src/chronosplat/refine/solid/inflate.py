"""From a silhouette to a solid: how thick the object is at each pixel.

The Poisson equation gives a height that vanishes at the outline and is smooth inside (Joshi and Carr, "Repousse", SBM 2008).
Its root is a circular cylinder over a strip, but flattens a disc; the ratio of the distance transform to it on the medial
axis says how round the silhouette is there, and makes a disc a sphere.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from chronosplat.refine.solid.grids import diffuse, distance_inside, poisson

INSET = 0.5  # pixels: the equation is solved to the first pixels outside, whose centres lie so far beyond the outline
BESIDE = 0.35  # pixels from a pixel on the medial axis to the axis itself


def inflate(mask: Tensor) -> Tensor:
    """Half the thickness [H, W] in pixels of the solid whose silhouette is ``mask`` [H, W], bool; 0 outside."""
    inside = mask.float()
    solution = poisson(inside)
    squared = 2 * solution * roundness(inside, solution)
    return (squared.clamp_min(0).sqrt() - INSET).clamp_min(0) * inside


def roundness(mask: Tensor, solution: Tensor) -> Tensor:
    """How round a silhouette [H, W] is around each pixel: 1 for a strip, 2 for a disc.

    Args:
        solution: of the Poisson equation, [H, W].
    """
    distance = distance_inside(mask)
    ridge = (distance >= F.max_pool2d(distance[None, None], 3, 1, 1)[0, 0] - 1e-3) & (distance > 1)
    ratio = ((distance + BESIDE).square() / (2 * solution).clamp_min(1e-3)).clamp(1, 2)
    return torch.where(mask > 0, diffuse(ratio[..., None], ridge, mask)[..., 0].clamp(1, 2), 1.0)
