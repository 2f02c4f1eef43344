"""4D-LRM on a capture: normalise, predict in one forward pass, return a scene in the capture's world and seconds."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from chronosplat.cameras import Similarity
from chronosplat.captures import Views, fitted_size, normalizing_similarity, spread_views
from chronosplat.events import info, logged
from chronosplat.models.lrm4d.config import Frames
from chronosplat.models.lrm4d.heads import PredictedGaussians
from chronosplat.scenes import Clock, Gaussians4D

VISIBLE = 1 / 255  # smallest opacity that the renderers rasterise
STATIC_SIGMA = 1e6  # a static capture's Gaussians never fade


def network_clock(times: Tensor) -> Clock:
    """Map network time [-1, 1] to the seconds of the inputs; a single timestamp is network time 0."""
    first, last = float(times.min()), float(times.max())
    return Clock((first + last) / 2, (last - first) / 2 if last > first else 1.0)


def network_views(views: Views, max_views: int, max_size: int) -> Views:
    """Choose and resize the views that a network sees, with a notice in the log if they are fewer or of another size.

    More or larger views take time with the square of their number, and gain nothing that a short refinement on all views does
    not (docs/results.md, "Views of a prediction").

    Args:
        max_views: number of views, chosen by spread_views. max_size: longer side in pixels.

    Returns:
        Views with sides divisible by 8.
    """
    old = views.cameras.width, views.cameras.height
    new = fitted_size(*old, min(max_size, max(old)))
    seen = views[spread_views(views.cameras, views.times, max_views)].resized(*new)
    if len(seen) < len(views) or new != old:
        resized = "" if new == old else f", resized from {old[0]}x{old[1]} to {new[0]}x{new[1]} pixels"
        logged(info("network-views", f"the prediction takes {len(seen)} of {len(views)} views{resized}"))
    return seen


def reconstruct(
    network: Callable[[Frames], PredictedGaussians], views: Views, device: torch.device, max_views: int = 24, max_size: int = 256
) -> Gaussians4D:
    """Predict space-time Gaussians from posed views; the network sees what network_views leaves of them.

    Returns:
        The scene, on ``device``, without invisible Gaussians; view-major, then row-major pixels.
    """
    seen = network_views(views, max_views, max_size)
    world = normalizing_similarity(seen.cameras, seen.up)
    clock = network_clock(seen.times)
    cameras = seen.cameras.transformed(world.inverse())
    frames = Frames(
        rgb=seen.on_white()[None].float().to(device),
        alpha=seen.alphas[None].float().to(device),
        times=clock.scene_time(seen.times)[None].float().to(device),
        viewmats=cameras.viewmats[None].float().to(device),
        Ks=cameras.Ks[None].float().to(device),
    )
    with torch.no_grad():
        predicted = network(frames)
    static = float(seen.times.max()) == float(seen.times.min())
    return _scene(predicted, static, world=world, clock=clock, seconds=views.seconds)


def _scene(predicted: PredictedGaussians, static: bool, world: Similarity, clock: Clock, seconds: tuple[float, float]) -> Gaussians4D:
    fields = {name: value[0] for name, value in predicted.fields().items()}
    if static:
        still = torch.zeros_like(fields["opacities"])
        fields |= {"velocities": torch.zeros_like(fields["means"]), "time_centers": still, "time_sigmas": still + STATIC_SIGMA}
    visible = fields["opacities"] >= VISIBLE
    return Gaussians4D(**{name: value[visible] for name, value in fields.items()}, world=world, clock=clock, seconds=seconds)
