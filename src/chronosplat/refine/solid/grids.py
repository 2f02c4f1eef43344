"""Fields over a silhouette's pixels: distances to its outline, harmonic functions, blurred and median colours."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SWEEPS = 300  # Jacobi iterations on each level of the pyramid
LEVELS = (16, 8, 4, 2, 1)
FOUR = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])[None, None]


def poisson(mask: Tensor) -> Tensor:
    """Solve Laplace(d) = -1 inside a mask [H, W], d = 0 outside, by Jacobi iterations from coarse to fine."""
    d = torch.zeros(1, 1, 1, 1)
    kernel = FOUR.to(mask) / 4
    for step in LEVELS:
        inside = F.max_pool2d(mask[None, None], step, ceil_mode=True)
        d = F.interpolate(d, size=inside.shape[2:], mode="bilinear", align_corners=False) * inside
        for _ in range(SWEEPS):
            d = (F.conv2d(d, kernel, padding=1) + step * step / 4) * inside
    return d[0, 0]


def diffuse(values: Tensor, known: Tensor, mask: Tensor) -> Tensor:
    """Continue ``values`` [H, W, C] harmonically from the pixels ``known`` [H, W] into the rest of ``mask`` [H, W].

    Nothing flows across the outline. Parts of the mask without known pixels get the mean of the known ones.
    """
    if not bool(known.any()):
        return torch.zeros_like(values)
    known, mask = known.float(), mask.float()
    channels = values.permute(2, 0, 1)[:, None]
    mean = (channels * known).sum((2, 3), keepdim=True) / known.sum()
    found = mean.expand(-1, -1, 1, 1)
    kernel = FOUR.to(values)
    for step in LEVELS:
        inside = F.max_pool2d(mask[None, None], step, ceil_mode=True)
        fixed = F.avg_pool2d(known[None, None], step, ceil_mode=True, count_include_pad=False)
        given = F.avg_pool2d(channels * known, step, ceil_mode=True, count_include_pad=False) / fixed.clamp_min(1e-6)
        fixed = (fixed > 0).float()
        found = F.interpolate(found, size=inside.shape[2:], mode="bilinear", align_corners=False)
        neighbours = F.conv2d(inside, kernel, padding=1)
        for _ in range(SWEEPS):
            flow = F.conv2d(found * inside, kernel, padding=1) / neighbours.clamp_min(1)
            found = torch.where(fixed > 0, given, torch.where(neighbours > 0, flow, mean))
    return (found[:, 0] * mask).permute(1, 2, 0)


def blur(values: Tensor, weights: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of ``values`` [H, W, C], normalised by the blurred ``weights`` [H, W]."""
    reach = max(1, round(3 * sigma))
    line = torch.exp(-((torch.arange(-reach, reach + 1.0) / sigma) ** 2) / 2).to(values)
    line = line / line.sum()

    def smooth(x: Tensor) -> Tensor:
        x = F.conv2d(x.permute(2, 0, 1)[:, None], line[None, None, :, None], padding=(reach, 0))
        return F.conv2d(x, line[None, None, None], padding=(0, reach))[:, 0].permute(1, 2, 0)

    weights = weights[..., None]
    return smooth(values * weights) / smooth(weights).clamp_min(1e-4)


def distance_inside(mask: Tensor) -> Tensor:
    """Distance [H, W] in pixels of each pixel of a mask [H, W] to the nearest pixel outside; exact, outside the image too."""
    padded = F.pad(mask.float(), (1, 1, 1, 1))
    height, width = padded.shape
    far = float((height + width) ** 2)
    rows = torch.arange(height, device=mask.device)
    columns = torch.arange(width, device=mask.device)
    outside = torch.where(padded > 0, far, 0.0)
    down = torch.stack([(outside + (rows - y).square()[:, None]).amin(0) for y in range(height)])
    both = torch.stack([(down + (columns - x).square()).amin(1) for x in range(width)], 1)
    return both.sqrt()[1:-1, 1:-1]


def dilate(mask: Tensor, reach: int = 1) -> Tensor:
    """Grow masks [..., H, W] by ``reach`` pixels in the eight directions."""
    return F.max_pool2d(mask.float().reshape(-1, 1, *mask.shape[-2:]), 2 * reach + 1, 1, reach).view(mask.shape)


def erode(mask: Tensor, reach: int = 1) -> Tensor:
    """Shrink masks [..., H, W] by ``reach`` pixels; the image's border counts as inside."""
    return 1 - dilate(1 - mask.float(), reach)
