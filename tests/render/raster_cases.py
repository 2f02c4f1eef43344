"""Random raster inputs and scenes of given kinds, and the comparison of a backend with the reference.

Inputs are visible in float32 and handed on in float64, so that both sides see exactly the same numbers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from chronosplat.render import RasterInputs, RasterOutputs, rasterize, reference
from chronosplat.render.inputs import GAUSSIAN_FIELDS
from chronosplat.scenes import Gaussians3D, Gaussians4D, GaussianSequence, quats_to_matrices

KINDS = ("ordinary", "tiny", "huge", "off_centre", "behind", "opaque")


def random_rotations(count: int, generator: torch.Generator) -> Tensor:
    """[count, 3, 3] proper rotations, float32."""
    return quats_to_matrices(torch.randn(count, 4, generator=generator, dtype=torch.float64)).float()


def random_inputs(
    kind: str = "ordinary",
    seed: int = 0,
    gaussians: int = 100,
    scenes: int = 1,
    views: int = 1,
    width: int = 33,
    height: int = 26,
    moving: bool = False,
) -> RasterInputs:
    """Inputs in float64 (with float32 values) around the origin, rendered by cameras three units away."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=g)

    B, N, V = scenes, gaussians, views
    scale_range = {"tiny": (1e-4, 5e-3), "huge": (0.5, 5.0), "off_centre": (0.3, 1.2), "opaque": (0.05, 0.4)}.get(kind, (0.02, 0.3))
    means = 0.7 * normal(B, N, 3)
    viewmats = torch.eye(4).repeat(B, V, 1, 1)
    viewmats[..., :3, :3] = random_rotations(B * V, g).view(B, V, 3, 3)
    viewmats[..., :3, 3] = torch.cat([uniform(-0.2, 0.2, B, V, 2), uniform(2.5, 3.5, B, V, 1)], -1)
    if kind == "off_centre":  # beyond 1.3 times the half field of view, where the Jacobian's ray is clamped
        sideways = torch.tensor([3.0, 0, 0]) * torch.where(torch.rand(B, N, 1, generator=g) < 0.5, -1.0, 1.0)
        means = means + sideways @ viewmats[:, 0, :3, :3]
    if kind == "behind":
        viewmats[..., 2, 3] = 0.0
    Ks = torch.zeros(B, V, 3, 3)
    Ks[..., 0, 0], Ks[..., 1, 1] = uniform(0.9, 1.4, B, V) * width, uniform(0.9, 1.4, B, V) * width
    Ks[..., 0, 2], Ks[..., 1, 2], Ks[..., 2, 2] = width * uniform(0.4, 0.6, B, V), height * uniform(0.4, 0.6, B, V), 1
    motion: dict[str, Tensor] = {}
    if moving:
        motion = {
            "velocities": 0.4 * normal(B, N, 3),
            "time_centers": uniform(-1, 1, B, N),
            "time_sigmas": uniform(0.2, 1.5, B, N),
            "times": uniform(-1, 1, B, V),
        }
    return RasterInputs(
        means=means,
        quats=normal(B, N, 4),
        scales=uniform(*scale_range, B, N, 3),
        opacities=uniform(0.8, 1.0, B, N) if kind == "opaque" else uniform(0.05, 0.95, B, N),
        colors=uniform(0, 1, B, N, 3),
        viewmats=viewmats,
        Ks=Ks,
        width=width,
        height=height,
        **motion,
    ).map(lambda t: t.double())


def gradients(x: RasterInputs, upstream: RasterOutputs, backend: str, cameras: bool = True) -> tuple[RasterOutputs, dict[str, Tensor]]:
    """The images, and the gradient of <images, upstream> in every Gaussian field and (``cameras``) in the viewmats."""
    leaves = [None if t is None else t.detach().clone().requires_grad_() for t in x.gaussians()]
    viewmats = x.viewmats.detach().clone().requires_grad_(cameras)
    out = rasterize(replace(x.with_gaussians(leaves), viewmats=viewmats), backend)
    total = sum((getattr(out, name) * getattr(upstream, name)).sum() for name in ("rgb", "alpha", "depth"))
    assert isinstance(total, Tensor)
    total.backward()
    found = {name: leaf.grad for name, leaf in zip((*GAUSSIAN_FIELDS, "viewmats"), (*leaves, viewmats), strict=True) if leaf is not None}
    return out, {name: grad for name, grad in found.items() if grad is not None}


def random_upstream(x: RasterInputs, keep: Tensor, seed: int = 1) -> RasterOutputs:
    """Random gradients of the images, zero where ``keep`` [B, V, H, W, 1] is false."""
    g = torch.Generator().manual_seed(seed)
    rgb, alpha, depth = (torch.randn(*keep.shape[:-1], c, generator=g).to(x.means) * keep for c in (3, 1, 1))
    return RasterOutputs(rgb, alpha, 0.3 * depth)


def decided(x: RasterInputs) -> Tensor:
    """Where [B, V, H, W, 1] no threshold is so close that float32 and float64 may fall on different sides of it.

    Three events are discontinuous: alpha against 1/255 (skipped or not), transmittance against 1e-4 (stopped or not),
    and for the gradient alpha against 0.999 (clamped or not). A pixel with such an event within 1e-3 relative (1e-4
    for the last) has no answer that both precisions must share, so it takes no part in a comparison.
    """
    B, V = x.viewmats.shape[:2]
    return torch.stack([torch.stack([_decided_view(x, b, v) for v in range(V)]) for b in range(B)])[..., None]


def _decided_view(x: RasterInputs, b: int, v: int) -> Tensor:
    columns, rows = torch.arange(x.width).double() + 0.5, torch.arange(x.height).double() + 0.5
    alpha = reference.alphas(reference.footprints(x, b, v), columns[None, :], rows[:, None])
    visible = torch.where(alpha >= reference.ALPHA_MIN, alpha.clamp(max=reference.ALPHA_MAX), 0.0)
    after = torch.cumprod(1 - visible, dim=0)
    close = (alpha / reference.ALPHA_MIN - 1).abs() < 1e-3
    close |= (after / reference.TRANSMITTANCE_MIN - 1).abs() < 1e-3
    close |= (alpha / reference.ALPHA_MAX - 1).abs() < 1e-4
    return ~close.any(0)


def scene_3d(seed: int = 0, gaussians: int = 40, **extra: Any) -> Gaussians3D:
    """A static scene in float64 within about the unit ball."""
    x = random_inputs(seed=seed, gaussians=gaussians)
    return Gaussians3D(0.5 * x.means[0], x.quats[0], x.scales[0], x.opacities[0], x.colors[0], **extra)


def scene_4d(seed: int = 0, gaussians: int = 40, **extra: Any) -> Gaussians4D:
    """A moving scene in float64."""
    x = random_inputs(seed=seed, gaussians=gaussians, moving=True)
    assert x.velocities is not None
    assert x.time_centers is not None
    assert x.time_sigmas is not None
    fields = (0.5 * x.means[0], x.velocities[0], x.time_centers[0], x.time_sigmas[0], x.quats[0], x.scales[0], x.opacities[0], x.colors[0])
    return Gaussians4D(*fields, **extra)


def sequence(seed: int = 0, frames: int = 3, gaussians: int = 20) -> GaussianSequence:
    """A sequence in float64 with frames at 0, 1, 2, ... seconds."""
    x = random_inputs(seed=seed, gaussians=gaussians, scenes=frames)
    times = torch.arange(frames, dtype=torch.float64)
    return GaussianSequence(0.5 * x.means, x.quats, x.scales, x.opacities, x.colors, times)
