"""From views to a scene: normalise, predict in one forward pass, and hand over in the capture's world and seconds."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from chronosplat.cameras import Similarity
from chronosplat.captures import Views, fit_size, normalizing_similarity, sort_into_rig
from chronosplat.captures.views import on_white
from chronosplat.gaussians import Clock, Gaussians4D, GaussianSequence
from chronosplat.models.heads import PredictedGaussians
from chronosplat.models.l4gm import L4GM, input_maps
from chronosplat.models.lrm4d import LRM4D, Frames
from chronosplat.models.precision import bf16_is_fast
from chronosplat.shapes import InputError

log = logging.getLogger("chronosplat")
VISIBLE = 1 / 255  # fainter Gaussians are never drawn
STATIC_SIGMA = 1e6  # a static capture's Gaussians never fade


def network_clock(times: Tensor) -> Clock:
    """The map from network time [-1, 1] to the seconds of the inputs; a single moment is 0."""
    first, last = float(times.min()), float(times.max())
    return Clock((first + last) / 2, (last - first) / 2 if last > first else 1.0)


def reconstruct(model: LRM4D, views: Views) -> Gaussians4D:
    """Predict a space-time cloud from posed views.

    Views whose size is not divisible by 8 are resized, with a notice in the log.

    Returns:
        The scene, on the model's device. Gaussians too faint to be drawn are left out; the others keep their order
        (view-major, then row-major pixels).
    """
    fitted = fit_size(views)
    for note in fitted.notes[len(views.notes) :]:
        log.warning(note)
    device = next(model.parameters()).device
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
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=bf16_is_fast(device)):
        predicted = model(frames)
    static = float(fitted.times.max()) == float(fitted.times.min())
    return _scene(predicted, static, world=world, clock=clock, seconds=fitted.seconds)


def _scene(predicted: PredictedGaussians, static: bool, world: Similarity, clock: Clock, seconds: tuple[float, float]) -> Gaussians4D:
    fields = {name: value[0] for name, value in predicted.fields().items()}
    if static:
        still = torch.zeros_like(fields["opacities"])
        fields |= {"velocities": torch.zeros_like(fields["means"]), "time_centers": still, "time_sigmas": still + STATIC_SIGMA}
    visible = fields["opacities"] >= VISIBLE
    return Gaussians4D(**{name: value[visible] for name, value in fields.items()}, world=world, clock=clock, seconds=seconds)


def reconstruct_frames(model: L4GM, views: Views) -> GaussianSequence:
    """Predict Gaussians for every moment of a capture in one forward pass (L4GM, section 4.1).

    Args:
        views: cameras at elevation 0; the first is the reference and tells the moments. The first moment must be seen from all
            of the model's azimuths. Where a later moment is not, the first moment's picture stands in, as in training.

    Returns:
        The sequence, on the model's device, in the capture's world and seconds.

    Raises:
        InputError: the first moment is not seen from all sides.
    """
    config = model.config
    rig = sort_into_rig(views, config.views, config.fovy, config.radius)
    first = rig.views_of(0, config.input_size)
    if first is None:
        step = 360 / config.views
        missing = [f"{step * place:g}" for place in range(config.views) if (0, place) not in rig.where]
        raise InputError(f"views: the first moment is not seen from azimuth {', '.join(missing)} degrees; see chronosplat multiview")
    rgb = first.expand(len(rig.times), *first.shape).clone()
    for moment, place in rig.where:
        picture = rig.picture(moment, place, config.input_size)
        assert picture is not None
        rgb[moment, place] = on_white(*picture)
    with torch.no_grad():
        predicted = model(input_maps(rgb[None], config).to(next(model.parameters()).device))
    return GaussianSequence(**{name: value[0] for name, value in predicted.fields().items()}, times=rig.times, world=rig.world)
