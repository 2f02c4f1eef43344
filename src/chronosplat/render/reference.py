"""The reference backend: readable splatting in plain PyTorch, in any precision, differentiable.

It evaluates every Gaussian at every pixel, so use it for small images. Semantics are those of gsplat and 3DGS: EWA
projection with the ray clamped to 1.3 times the half field of view, ``eps2d`` added to the 2D covariance, pixel centres
at +0.5, alpha clamped to 0.999, alpha below 1/255 skipped, and compositing stops before transmittance falls to 1e-4.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from chronosplat.render.inputs import RasterInputs, RasterOutputs
from chronosplat.scenes.conditioning import temporal_weight
from chronosplat.scenes.rotations import quats_to_matrices

ALPHA_MIN, ALPHA_MAX, TRANSMITTANCE_MIN = 1 / 255, 0.999, 1e-4
EXTENT_MAX = 3.33  # sigmas; half the largest bounding box in gsplat


@dataclass(frozen=True)
class Footprints:
    """Projected Gaussians of one view.

    Attributes:
        centers: [N, 2] pixels.
        conics: [N, 3] upper triangle of the inverse 2D covariance.
        depths, opacities: [N]. colors: [N, 3].
    """

    centers: Tensor
    conics: Tensor
    depths: Tensor
    opacities: Tensor
    colors: Tensor


def rasterize(x: RasterInputs) -> RasterOutputs:
    """Render the views one after the other.

    Raises:
        InputError: NaN or infinite values.
    """
    x.check_values()
    x = x.unshared()
    if x.empty:
        return RasterOutputs.blank(x)
    B, V = x.viewmats.shape[:2]
    images = [[_composite(footprints(x, b, v), x) for v in range(V)] for b in range(B)]
    rgb, alpha, depth = (torch.stack([torch.stack([image[k] for image in row]) for row in images]) for k in range(3))
    return RasterOutputs(rgb, alpha, depth)


def footprints(x: RasterInputs, b: int, v: int) -> Footprints:
    """Project and cull the Gaussians of view ``v`` of scene ``b``, sorted front to back."""
    means, opacities = x.means[b], x.opacities[b]
    visible = torch.ones_like(opacities, dtype=torch.bool)
    if x.velocities is not None and x.time_centers is not None and x.time_sigmas is not None and x.times is not None:
        t = x.times[b, v]
        means = means + x.velocities[b] * (t - x.time_centers[b])[:, None]
        weight = temporal_weight(t, x.time_centers[b], x.time_sigmas[b])
        opacities = opacities * weight
        visible = weight >= x.weight_min
    visible = visible & (opacities >= x.opacity_min)
    rotation, translation = x.viewmats[b, v, :3, :3], x.viewmats[b, v, :3, 3]
    camera = means @ rotation.T + translation
    visible = visible & (camera[:, 2] >= x.near_plane) & (camera[:, 2] <= x.far_plane)
    order = torch.argsort(camera[:, 2].detach(), stable=True)
    order = order[visible[order]]  # culled Gaussians could give NaN below
    camera, opacities = camera[order], opacities[order]
    centers, cov2d = _project(camera, _covariances(x, b)[order], rotation, x.Ks[b, v], x)
    blurred = cov2d + x.eps2d * torch.eye(2).to(cov2d)
    solid = torch.linalg.det(blurred.detach()) > 0  # fails only for a matrix that is not a covariance
    order, camera, opacities, centers, cov2d, blurred = (t[solid] for t in (order, camera, opacities, centers, cov2d, blurred))
    a, off, c = blurred[:, 0, 0], blurred[:, 0, 1], blurred[:, 1, 1]
    determinant = a * c - off * off
    if x.rasterize_mode == "antialiased":
        ratio = (cov2d[:, 0, 0] * cov2d[:, 1, 1] - off * off) / determinant
        opacities = opacities * torch.where(ratio > 1e-30, ratio, torch.ones_like(ratio)).sqrt() * (ratio > 1e-30)
    reach = (2 * (opacities.detach() / ALPHA_MIN).clamp(min=1).log()).sqrt().clamp(max=EXTENT_MAX)
    radii = (reach[:, None] * torch.stack([a, c], -1).detach().sqrt()).ceil()
    kept = (radii > x.radius_clip).any(-1) if x.radius_clip > 0 else torch.ones_like(reach, dtype=torch.bool)
    conics = torch.stack([c, -off, a], dim=-1) / determinant[:, None]
    return Footprints(centers[kept], conics[kept], camera[kept, 2], opacities[kept], x.colors[b][order][kept])


def _covariances(x: RasterInputs, b: int) -> Tensor:
    if x.covars is not None:
        return 0.5 * (x.covars[b] + x.covars[b].transpose(1, 2))
    assert x.quats is not None
    assert x.scales is not None
    half = quats_to_matrices(x.quats[b]) * x.scales[b][:, None, :]
    return half @ half.transpose(1, 2)


def _project(camera: Tensor, covariances: Tensor, rotation: Tensor, K: Tensor, x: RasterInputs) -> tuple[Tensor, Tensor]:
    """Project camera-space means [N, 3] (EWA) to centres [N, 2] and 2D covariances [N, 2, 2] without blur."""
    X, Y, Z = camera.unbind(-1)
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    margin_x, margin_y = 0.15 * x.width / fx, 0.15 * x.height / fy
    ratio_x = torch.minimum(torch.maximum(X / Z, -cx / fx - margin_x), (x.width - cx) / fx + margin_x)
    ratio_y = torch.minimum(torch.maximum(Y / Z, -cy / fy - margin_y), (x.height - cy) / fy + margin_y)
    zero = torch.zeros_like(Z)
    row_x = torch.stack([fx / Z, zero, -fx * ratio_x / Z], dim=-1)
    row_y = torch.stack([zero, fy / Z, -fy * ratio_y / Z], dim=-1)
    T = torch.stack([row_x, row_y], dim=-2) @ rotation  # J W, [N, 2, 3]
    centers = torch.stack([fx * X / Z + cx, fy * Y / Z + cy], dim=-1)
    return centers, T @ covariances @ T.transpose(1, 2)


def alphas(g: Footprints, column: Tensor, row: Tensor) -> Tensor:
    """Evaluate opacity times Gaussian [N, ...] at pixel centres, before clamping."""
    shape = (-1,) + (1,) * torch.broadcast_tensors(column, row)[0].dim()
    dx, dy = g.centers[:, 0].view(shape) - column, g.centers[:, 1].view(shape) - row
    A, B, C = (g.conics[:, k].view(shape) for k in range(3))
    return g.opacities.view(shape) * torch.exp(-0.5 * (A * dx * dx + 2 * B * dx * dy + C * dy * dy))


def _composite(g: Footprints, x: RasterInputs) -> tuple[Tensor, Tensor, Tensor]:
    """Composite front to back, one row of pixels at a time."""
    columns = torch.arange(x.width, dtype=g.centers.dtype, device=g.centers.device) + 0.5
    rows = []
    for row in range(x.height):
        alpha = alphas(g, columns, columns.new_tensor(row + 0.5)).clamp(max=ALPHA_MAX)  # [N, W]
        alpha = torch.where(alpha >= ALPHA_MIN, alpha, torch.zeros_like(alpha))
        after = torch.cumprod(1 - alpha, dim=0)  # transmittance behind each Gaussian
        visible = (after > TRANSMITTANCE_MIN).to(alpha)
        before = torch.cat([torch.ones_like(after[:1]), after[:-1]])
        weights = alpha * before * visible
        rows.append(torch.cat([weights.T @ g.colors, weights.sum(0)[:, None], weights.T @ g.depths[:, None]], dim=-1))
    image = torch.stack(rows)
    return image[..., :3], image[..., 3:4], image[..., 4:5]
