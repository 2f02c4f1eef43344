"""Plane sweep over the input views: evidence of the surface along each ray.

For coarse cells of every input frame, points at several depths are projected into all other frames. A point is plausible
where the other silhouettes contain it (a soft visual hull, weighted by nearness in time) and where colours agree. These
hand-crafted features spare a small model learning triangulation (measured in docs/results.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from chronosplat.cameras import pixel_rays
from chronosplat.models.lrm4d.config import SweepConfig


@dataclass(frozen=True)
class Sweep:
    """Evidence along the cells' rays.

    Attributes:
        silhouettes: [B, F, h, w, D, windows] mean log coverage in the other frames; 0 is full agreement.
        colors: [B, F, h, w, D] mean squared colour difference where covered.
        distances: [B, F, h, w, D] along the ray.
    """

    silhouettes: Tensor
    colors: Tensor
    distances: Tensor


@torch.no_grad()
def plane_sweep(rgb: Tensor, alpha: Tensor, times: Tensor, viewmats: Tensor, Ks: Tensor, config: SweepConfig) -> Sweep:
    """Sweep all frames of B samples.

    Args:
        rgb: [B, F, H, W, 3], alpha: [B, F, H, W, 1], times: [B, F] in [-1, 1], viewmats: [B, F, 4, 4], Ks: [B, F, 3, 3].
    """
    B, frames, H, W, _ = rgb.shape
    step = config.stride
    h, w, D = H // step, W // step, config.depths
    origins, directions = pixel_rays(viewmats, Ks, W, H, step)
    offsets = torch.linspace(-config.reach, config.reach, D, device=rgb.device)
    distances = -(origins * directions).sum(-1, keepdim=True) + offsets
    points = (origins[..., None, :] + distances[..., None] * directions[..., None, :]).flatten(2, 4)  # [B, F, hwD, 3]
    images = torch.cat([rgb, alpha], -1).flatten(0, 1).permute(0, 3, 1, 2)  # [B F, 4, H, W]
    own = F.avg_pool2d(images[:, :3], step).view(B, frames, 3, h * w, 1)
    weights = time_weights(times, config.windows)
    silhouettes = rgb.new_zeros(B, frames, h * w, D, len(config.windows))
    colors = rgb.new_zeros(B, frames, h * w, D)
    focal = torch.stack([Ks[..., 0, 0] / W, Ks[..., 1, 1] / H], -1)[:, :, None] * 2
    center = torch.stack([Ks[..., 0, 2] / W, Ks[..., 1, 2] / H], -1)[:, :, None] * 2 - 1
    for i in range(frames):  # one source frame at a time bounds the memory to F times its points
        local = torch.einsum("bjmn,bpn->bjpm", viewmats[:, :, :3, :3], points[:, i]) + viewmats[:, :, None, :3, 3]
        grid = local[..., :2] / local[..., 2:].clamp_min(1e-3) * focal + center
        sampled = F.grid_sample(images, grid.flatten(0, 1)[:, None], align_corners=False)[:, :, 0].view(B, frames, 4, h * w, D)
        covered = sampled[:, :, 3]
        silhouettes[:, i] = torch.einsum("bjk,bjpd->bpdk", weights[:, :, i], covered.clamp_min(0.02).log())
        difference = ((sampled[:, :, :3] - own[:, i, None]) ** 2).sum(2) * covered
        colors[:, i] = torch.einsum("bj,bjpd->bpd", weights[:, :, i, -1], difference.clamp(max=1.0))
    shape = (B, frames, h, w, D)
    return Sweep(silhouettes.view(*shape, -1), colors.view(shape), distances)


def time_weights(times: Tensor, windows: tuple[float, ...]) -> Tensor:
    """Return the weight [B, j, i, windows] of frame j in the sweep of frame i: decays with the time difference, zero for j = i."""
    gap = (times[:, :, None] - times[:, None, :]).abs()
    nearness = torch.exp(-gap[..., None] / torch.tensor(windows, device=times.device))
    nearness = nearness * (1 - torch.eye(times.shape[1], device=times.device))[None, :, :, None]
    return nearness / nearness.sum(1, keepdim=True).clamp_min(1e-9)
