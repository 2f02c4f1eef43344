"""The judge: readable splatting in plain PyTorch, any precision, values and gradients.

Every pixel is compared with every Gaussian, so it is for small pictures only. Semantics are gsplat's (and 3DGS's):
EWA projection with the ray clamped to 1.3 times the half field of view, ``eps2d`` added to the 2D covariance, pixel
centres at +0.5, alpha at most 0.999, alpha below 1/255 not drawn, and a pixel stops before its transmittance would
fall to 1e-4.
"""

from __future__ import annotations

import torch
from torch import Tensor

from chronosplat.gaussians.fourd import temporal_weight
from chronosplat.gaussians.rotations import quats_to_matrices
from chronosplat.render.inputs import RasterInputs, RasterOutputs

ALPHA_MIN, ALPHA_MAX, TRANSMITTANCE_MIN = 1 / 255, 0.999, 1e-4


def rasterize(x: RasterInputs) -> RasterOutputs:
    """Render every view of every scene, one after the other."""
    B, V = x.viewmats.shape[:2]
    if B == 0 or V == 0 or x.means.shape[1] == 0:
        return RasterOutputs.empty(x)
    pictures = [[_render_view(x, b, v) for v in range(V)] for b in range(B)]
    rgb, alpha, depth = (torch.stack([torch.stack([p[k] for p in row]) for row in pictures]) for k in range(3))
    return RasterOutputs(rgb, alpha, depth)


def _render_view(x: RasterInputs, b: int, v: int) -> tuple[Tensor, Tensor, Tensor]:
    means, opacities = x.means[b], x.opacities[b]
    if x.velocities is not None and x.time_centers is not None and x.time_sigmas is not None and x.times is not None:
        t = x.times[b, v]
        means = means + x.velocities[b] * (t - x.time_centers[b])[:, None]
        opacities = opacities * temporal_weight(t, x.time_centers[b], x.time_sigmas[b])
    half = quats_to_matrices(x.quats[b]) * x.scales[b][:, None, :]
    centers, conics, depths = _project(means, half @ half.transpose(1, 2), x.viewmats[b, v], x.Ks[b, v], x)
    visible = (depths > x.near_plane) & (depths < x.far_plane)
    order = torch.argsort(depths.detach()[visible], stable=True)
    chosen = visible.nonzero()[:, 0][order]
    return _composite(centers[chosen], conics[chosen], depths[chosen], opacities[chosen], x.colors[b][chosen], x)


def _project(means: Tensor, covariances: Tensor, viewmat: Tensor, K: Tensor, x: RasterInputs) -> tuple[Tensor, Tensor, Tensor]:
    """EWA projection: centres [N, 2] and conics [N, 3] (upper triangle of the inverse 2D covariance), depths [N]."""
    rotation = viewmat[:3, :3]
    camera = means @ rotation.T + viewmat[:3, 3]
    X, Y, Z = camera.unbind(-1)
    Z = torch.where((x.near_plane < Z) & (x.far_plane > Z), Z, torch.ones_like(Z))  # others are not drawn: no NaN from them
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    margin_x, margin_y = 0.15 * x.width / fx, 0.15 * x.height / fy
    ratio_x = torch.minimum(torch.maximum(X / Z, -cx / fx - margin_x), (x.width - cx) / fx + margin_x)
    ratio_y = torch.minimum(torch.maximum(Y / Z, -cy / fy - margin_y), (x.height - cy) / fy + margin_y)
    zero = torch.zeros_like(Z)
    row_x = torch.stack([fx / Z, zero, -fx * ratio_x / Z], dim=-1)
    row_y = torch.stack([zero, fy / Z, -fy * ratio_y / Z], dim=-1)
    T = torch.stack([row_x, row_y], dim=-2) @ rotation  # J W, [N, 2, 3]
    cov2d = T @ covariances @ T.transpose(1, 2)
    a, b, c = cov2d[:, 0, 0] + x.eps2d, cov2d[:, 0, 1], cov2d[:, 1, 1] + x.eps2d
    determinant = a * c - b * b
    centers = torch.stack([fx * X / Z + cx, fy * Y / Z + cy], dim=-1)
    return centers, torch.stack([c, -b, a], dim=-1) / determinant[:, None], camera[:, 2]


def _composite(
    centers: Tensor, conics: Tensor, depths: Tensor, opacities: Tensor, colors: Tensor, x: RasterInputs
) -> tuple[Tensor, Tensor, Tensor]:
    """Front-to-back alpha compositing of sorted Gaussians, one row of pixels at a time."""
    columns = torch.arange(x.width, dtype=centers.dtype, device=centers.device) + 0.5
    rows = []
    for row in range(x.height):
        dx, dy = centers[:, :1] - columns, centers[:, 1:] - (row + 0.5)  # [N, W], [N, 1]
        A, B, C = conics[:, 0:1], conics[:, 1:2], conics[:, 2:3]
        alpha = opacities[:, None] * torch.exp(-0.5 * (A * dx * dx + 2 * B * dx * dy + C * dy * dy))
        alpha = alpha.clamp(max=ALPHA_MAX)
        alpha = torch.where(alpha >= ALPHA_MIN, alpha, torch.zeros_like(alpha))
        after = torch.cumprod(1 - alpha, dim=0)  # transmittance behind each Gaussian
        drawn = (after > TRANSMITTANCE_MIN).to(alpha)
        before = torch.cat([torch.ones_like(after[:1]), after[:-1]])
        weights = alpha * before * drawn
        rows.append(torch.cat([weights.T @ colors, weights.sum(0)[:, None], weights.T @ depths[:, None]], dim=-1))
    picture = torch.stack(rows)
    return picture[..., :3], picture[..., 3:4], picture[..., 4:5]
