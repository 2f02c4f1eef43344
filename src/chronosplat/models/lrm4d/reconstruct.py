"""4D-LRM on a capture: normalise, predict in one forward pass, return a scene in the capture's world and seconds."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from chronosplat.cameras import Similarity
from chronosplat.captures import Views, fit_size, normalizing_similarity
from chronosplat.events import logged
from chronosplat.models.lrm4d.config import Frames
from chronosplat.models.lrm4d.heads import PredictedGaussians
from chronosplat.scenes import Clock, Gaussians4D

VISIBLE = 1 / 255  # smallest opacity that the renderers rasterise
STATIC_SIGMA = 1e6  # a static capture's Gaussians never fade


def network_clock(times: Tensor) -> Clock:
    """Map network time [-1, 1] to the seconds of the inputs; a single timestamp is network time 0."""
    first, last = float(times.min()), float(times.max())
    return Clock((first + last) / 2, (last - first) / 2 if last > first else 1.0)


def reconstruct(network: Callable[[Frames], PredictedGaussians], views: Views, device: torch.device) -> Gaussians4D:
    """Predict space-time Gaussians from posed views.

    Views whose size is not divisible by 8 are resized, with a notice in the log.

    Returns:
        The scene, on ``device``, without invisible Gaussians; view-major, then row-major pixels.
    """
    fitted = fit_size(views)
    for notice in fitted.notices[len(views.notices) :]:
        logged(notice)
    world = normalizing_similarity(fitted.cameras, fitted.up)
    clock = network_clock(fitted.times)
    cameras = fitted.cameras.transformed(world.inverse())
    frames = Frames(
        rgb=fitted.on_white()[None].float().to(device),
        alpha=fitted.alphas[None].float().to(device),
        times=clock.scene_time(fitted.times)[None].float().to(device),
        viewmats=cameras.viewmats[None].float().to(device),
        Ks=cameras.Ks[None].float().to(device),
    )
    with torch.no_grad():
        predicted = network(frames)
    static = float(fitted.times.max()) == float(fitted.times.min())
    return _scene(predicted, static, world=world, clock=clock, seconds=fitted.seconds)


def _scene(predicted: PredictedGaussians, static: bool, world: Similarity, clock: Clock, seconds: tuple[float, float]) -> Gaussians4D:
    fields = {name: value[0] for name, value in predicted.fields().items()}
    if static:
        still = torch.zeros_like(fields["opacities"])
        fields |= {"velocities": torch.zeros_like(fields["means"]), "time_centers": still, "time_sigmas": still + STATIC_SIGMA}
    visible = fields["opacities"] >= VISIBLE
    return Gaussians4D(**{name: value[visible] for name, value in fields.items()}, world=world, clock=clock, seconds=seconds)
