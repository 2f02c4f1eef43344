"""How an optimisation starts: a predicted cloud is thinned and its Gaussians live longer, so that many pictures move each."""

from __future__ import annotations

import torch
from torch import Tensor

from chronosplat.gaussians import Gaussians4D
from chronosplat.refine.coverage import picture_spacing
from chronosplat.refine.parameters import Fields

PER_PIXEL = 3.5  # Gaussians kept for each pixel that the object covers in a picture
FEWEST = 4000
OPACITY = 0.1  # of all Gaussians at the start: none hides another yet, so the pictures' gradients reach all


def count_for(alphas: Tensor) -> int:
    """How many Gaussians pictures with these alphas [F, H, W, 1] can tell apart."""
    covered = float(alphas.double().mean()) * alphas.shape[1] * alphas.shape[2]
    return max(FEWEST, round(PER_PIXEL * covered))


def thinned_and_widened(scene: Gaussians4D, alphas: Tensor, times: Tensor, width: float, seed: int) -> Fields:
    """Fewer, larger, fainter Gaussians with time sigmas of at least ``width`` mean distances between pictures, at rest.

    A feed-forward cloud has one short-lived Gaussian for every pixel of every picture: each is seen by one or two
    pictures, and fits them at the cost of all other views. Drawn by opacity, with longer lives, every
    Gaussian answers to many pictures.

    Args:
        alphas: [F, H, W, 1] of the pictures. times: [F] of the pictures in scene time.
    """
    count = min(len(scene), count_for(alphas))
    draws = torch.Generator().manual_seed(seed)
    # Efraimidis-Spirakis: the largest u^(1/w) are a weighted draw without replacement, of any number of Gaussians
    keys = torch.rand(len(scene), generator=draws, dtype=torch.float64).log() / scene.opacities.double().cpu().clamp_min(1e-9)
    chosen = keys.topk(count).indices.sort().values.to(scene.means.device)
    fields = {name: t[chosen].detach().float() for name, t in scene.tensors().items()}
    spacing = picture_spacing(times)
    fields["time_sigmas"] = fields["time_sigmas"].clamp_min(width * spacing) if spacing > 0 else fields["time_sigmas"]
    fields["scales"] = fields["scales"] * (len(scene) / count) ** (1 / 3)
    fields["velocities"] = torch.zeros_like(fields["velocities"])
    fields["opacities"] = torch.full_like(fields["opacities"], OPACITY)
    return fields
