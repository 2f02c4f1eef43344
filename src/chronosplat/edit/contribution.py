"""What each Gaussian contributes to images: its blending weights, summed over pixels, views and times.

The image is linear in the colours, and the weight of a Gaussian is the derivative of the pixels' sum by its colour, so one
backward pass of the renderer gives the weights of all Gaussians.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from chronosplat.cameras import Cameras, Similarity, orbit
from chronosplat.edit.sampled import FIVE, NINETY_FIVE, bounds, has_frames, sampled_times
from chronosplat.render import render
from chronosplat.scenes import Gaussians3D, Scene

SIZE = 256  # pixels of the sampled views
DISTANCE = 2.5  # of the sampled cameras, in radii of the scene
IMAGES, LEAST, MOST = 192, 6, 48  # sampled views over all times; at one time at least and at most
VIEWS_PER_CALL = 8


def contributions(scene: Scene, cameras: Cameras, times: Tensor, marks: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Sum the blending weights of every Gaussian.

    Args:
        cameras: F cameras in the capture's world. times: [F] seconds.
        marks: [F, H, W] weights of the pixels for the second result; None: ones.

    Returns:
        Sums over all pixels and over the weighted ones, in pixels: [N], or [T, N] for stored frames.
    """
    frames = torch.tensor(sampled_times(scene), dtype=torch.float64)
    rows = len(frames) if has_frames(scene) else 1
    sums = torch.zeros(2, rows, scene.num_gaussians, device=scene.device)
    nearest = (frames[None] - times[:, None].double().cpu()).abs().argmin(1) if rows > 1 else times.double().cpu()
    for value in torch.unique(nearest):
        which = torch.nonzero(nearest == value)[:, 0]
        row, seconds = (int(value), float(frames[int(value)])) if rows > 1 else (0, float(value))
        fields = {name: t[0].detach() for name, t in scene.evaluate(torch.tensor([seconds], dtype=torch.float64)).items()}
        for some in which.split(VIEWS_PER_CALL):
            sums[:, row] += _weights(fields, scene.world, cameras[some], None if marks is None else marks[some])
    return (sums[0], sums[1]) if rows > 1 else (sums[0, 0], sums[1, 0])


def _weights(fields: dict[str, Tensor], world: Similarity, cameras: Cameras, marks: Tensor | None) -> Tensor:
    """The two sums [2, N] over some views of one time."""
    with torch.enable_grad():
        colors = torch.zeros_like(fields["means"]).requires_grad_()
        still = Gaussians3D(**fields | {"colors": colors}, world=world, notes={})
        rgb = render(still, cameras, background="black").rgb
        marked = rgb[..., 1] if marks is None else rgb[..., 1] * marks.to(rgb)
        (gradient,) = torch.autograd.grad(rgb[..., 0].sum() + marked.sum(), colors)
    return gradient.T[:2]


def sampled_views(scene: Scene) -> tuple[Cameras, Tensor]:
    """Place cameras all around the scene: F cameras and times [F]; directions differ from one time to the next."""
    seconds = sampled_times(scene)
    count = min(max(IMAGES // len(seconds), LEAST), MOST)
    total = count * len(seconds)
    low, high = (value.double() for value in bounds(scene, FIVE, NINETY_FIVE))
    golden = 180 * (3 - math.sqrt(5))
    elevations = [math.degrees(math.asin(1 - (2 * k + 1) / total)) for k in range(total)]
    order = [k for first in range(len(seconds)) for k in range(first, total, len(seconds))]
    cameras = orbit([golden * k % 360 for k in order], [elevations[k] for k in order], SIZE, DISTANCE)
    radius = float((high - low).norm() / 2) or scene.world.scale
    around = Similarity(radius, scene.world.rotation, ((low + high) / 2).cpu())
    return cameras.transformed(around), torch.tensor(seconds, dtype=torch.float64).repeat_interleave(count)
