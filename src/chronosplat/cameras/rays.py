"""Camera rays and their Plücker coordinates."""

from __future__ import annotations

import torch
from torch import Tensor


def pixel_rays(viewmats: Tensor, Ks: Tensor, width: int, height: int, stride: int = 1) -> tuple[Tensor, Tensor]:
    """Compute rays through the centres of cells of ``stride`` x ``stride`` pixels.

    Args:
        viewmats: [..., 4, 4] world to camera.
        Ks: [..., 3, 3] intrinsics of images of ``width`` x ``height`` pixels.

    Returns:
        Origins and unit directions in the world, both [..., H / stride, W / stride, 3].
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
    """Return the point [..., 3] on each ray's line that is closest to the origin of the world (4D-LRM, section 2.2)."""
    return origins - (origins * directions).sum(-1, keepdim=True) * directions


def plucker_lgm(origins: Tensor, directions: Tensor) -> Tensor:
    """Return Plücker coordinates [..., 6] as LGM and L4GM order them: moment ``o x d``, then direction."""
    return torch.cat([torch.linalg.cross(origins, directions), directions], dim=-1)
