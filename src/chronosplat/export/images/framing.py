"""Where to place cameras around a scene that is not normalised."""

from __future__ import annotations

import torch

from chronosplat.cameras import Similarity
from chronosplat.scenes import Scene, gaussians_at

SMALLEST, LARGEST = 0.1, 1.5  # reach from the origin that the paths, 1.5 away with 49.1 degrees, can show
FITTED = 0.6  # radius of a sphere that fills their view
OPAQUE = 0.1
SAMPLES = 100_000


def stage_of(scene: Scene, seconds: float) -> Similarity:
    """Map from the paths' coordinates to the scene's own world: the identity unless the scene is too large, too small or elsewhere.

    The scene's extent is that of the box between the 2nd and 98th percentiles of the visible means at one time.
    """
    gaussians = gaussians_at(scene, seconds)
    means = gaussians.means[gaussians.opacities >= OPAQUE].detach().cpu().double()
    if not len(means):
        return Similarity()
    means = means[:: -(-len(means) // SAMPLES)]
    low, high = torch.quantile(means, torch.tensor([0.02, 0.98], dtype=torch.float64), 0)
    reach = float(torch.maximum(low.abs(), high.abs()).norm())
    if SMALLEST <= reach <= LARGEST:
        return Similarity()
    scales = gaussians.scales.max().item() if len(means) == 1 else 0.0  # a single Gaussian has no box
    radius = max(float((high - low).norm()) / 2, 2 * scales, 1e-6)
    return Similarity(radius / FITTED, translation=(low + high) / 2)
