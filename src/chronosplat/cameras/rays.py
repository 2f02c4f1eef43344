"""Rays of pixels, and the two Plücker variants of the papers."""

from __future__ import annotations

import torch
from torch import Tensor

from chronosplat.cameras.cameras import Cameras


def camera_rays(cameras: Cameras) -> tuple[Tensor, Tensor]:
    """Rays through the pixel centres.

    Returns:
        origins [F, H, W, 3] and unit directions [F, H, W, 3] in the world.
    """
    return pixel_rays(cameras.viewmats, cameras.Ks, cameras.width, cameras.height)


def pixel_rays(viewmats: Tensor, Ks: Tensor, width: int, height: int, stride: int = 1) -> tuple[Tensor, Tensor]:
    """Rays of cameras with any batch axes, through the centres of ``stride`` x ``stride`` pixel cells.

    Args:
        viewmats: [..., 4, 4] world to camera.
        Ks: [..., 3, 3] intrinsics.

    Returns:
        origins and unit directions, both [..., H / stride, W / stride, 3].
    """
    v, u = torch.meshgrid(
        torch.arange(height // stride, dtype=Ks.dtype, device=Ks.device),
        torch.arange(width // stride, dtype=Ks.dtype, device=Ks.device),
        indexing="ij",
    )
    u, v = (u + 0.5) * stride, (v + 0.5) * stride
    fx, fy, cx, cy = (Ks[..., i, j, None, None] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    local = torch.stack([(u - cx) / fx, (v - cy) / fy, torch.ones_like(u).expand_as((u - cx) / fx)], dim=-1)
    directions = torch.einsum("...ji,...hwj->...hwi", viewmats[..., :3, :3], local)
    directions = directions / directions.norm(dim=-1, keepdim=True)
    centers = -torch.einsum("...ji,...j->...i", viewmats[..., :3, :3], viewmats[..., :3, 3])
    return centers[..., None, None, :].expand_as(directions), directions


def nearest_points(origins: Tensor, directions: Tensor) -> Tensor:
    """The point of each ray's line that is closest to the world's origin (4D-LRM, section 2.2): [..., 3]."""
    return origins - (origins * directions).sum(-1, keepdim=True) * directions


def plucker_lrm(origins: Tensor, directions: Tensor) -> Tensor:
    """4D-LRM's variant [..., 6]: direction, then nearest point to the origin."""
    return torch.cat([directions, nearest_points(origins, directions)], dim=-1)


def plucker_lgm(origins: Tensor, directions: Tensor) -> Tensor:
    """LGM's and L4GM's variant [..., 6]: moment ``o x d``, then direction."""
    return torch.cat([torch.linalg.cross(origins, directions), directions], dim=-1)
