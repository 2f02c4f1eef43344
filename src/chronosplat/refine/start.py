"""The start of a free optimisation: a prediction with fewer, longer-lived Gaussians, each constrained by many views."""

from __future__ import annotations

import torch
from torch import Tensor

from chronosplat.refine.coverage import timestamp_spacing
from chronosplat.refine.parameters import Fields, fields_of
from chronosplat.scenes import Scene

PER_PIXEL = 3.5  # Gaussians kept per pixel that the object covers in an image
MIN_GAUSSIANS, MAX_GAUSSIANS = 4000, 60_000
OPACITY = 0.1  # of all Gaussians at the start: none hides another yet, so gradients reach all


def count_for(pixels: Tensor) -> int:
    """How many Gaussians images [F, H, W, 4] uint8 can resolve, by the pixels that the object covers."""
    covered = sum(float(image.sum(dtype=torch.float64)) for image in pixels[..., 3]) / 255 / len(pixels)
    return min(MAX_GAUSSIANS, max(MIN_GAUSSIANS, round(PER_PIXEL * covered)))


def subsample_and_widen(scene: Scene, pixels: Tensor, times: Tensor, width: float, seed: int) -> Fields:
    """Fewer, larger, fainter Gaussians at rest, with time sigmas of at least ``width`` mean spacings between views.

    A prediction has one short-lived Gaussian per pixel of every view: one or two views see it, and it would fit them at the
    cost of all others. Sampled by opacity, with longer lives, every Gaussian is constrained by many views.

    Args:
        pixels: [F, H, W, 4] uint8 of the views. times: [F] of the views in scene time.
    """
    every = fields_of(scene)
    size, opacities = scene.num_gaussians, scene.tensors()["opacities"]
    count = min(size, count_for(pixels))
    generator = torch.Generator().manual_seed(seed)
    # Efraimidis-Spirakis: the largest u^(1/w) are a weighted sample without replacement
    keys = torch.rand(size, generator=generator, dtype=torch.float64).log() / opacities.double().cpu().clamp_min(1e-9)
    chosen = keys.topk(count).indices.sort().values.to(scene.device)
    fields = {name: t[chosen] for name, t in every.items()}
    spacing = timestamp_spacing(times)
    fields["time_sigmas"] = fields["time_sigmas"].clamp_min(width * spacing) if spacing > 0 else fields["time_sigmas"]
    fields["scales"] = fields["scales"] * (size / count) ** (1 / 3)
    fields["velocities"] = torch.zeros_like(fields["velocities"])
    fields["opacities"] = torch.full_like(fields["opacities"], OPACITY)
    return fields
