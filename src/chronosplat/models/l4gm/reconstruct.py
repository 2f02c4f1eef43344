"""L4GM on a posed capture: every timestamp in one forward pass."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from chronosplat.captures import Views, sort_into_rig
from chronosplat.captures.views import on_white
from chronosplat.models.l4gm.activations import PredictedSplats
from chronosplat.models.l4gm.config import L4GMConfig, input_maps
from chronosplat.scenes import GaussianSequence
from chronosplat.shapes import InputError


def reconstruct_frames(
    network: Callable[[Tensor], PredictedSplats], views: Views, config: L4GMConfig, device: torch.device
) -> GaussianSequence:
    """Predict Gaussians for every timestamp of a capture in one forward pass (L4GM, section 4.1).

    Args:
        views: cameras at elevation 0; the first is the reference and gives the timestamps. The first timestamp must be seen
            from all of the model's azimuths. Where a later one is not, the first timestamp's image stands in, as in training.

    Returns:
        The sequence, on ``device``, in the capture's world and seconds.

    Raises:
        InputError: the first timestamp is not seen from all azimuths.
    """
    rig = sort_into_rig(views, config.views, config.fovy, config.radius)
    first = rig.views_of(0, config.input_size)
    if first is None:
        step = 360 / config.views
        missing = [f"{step * place:g}" for place in range(config.views) if (0, place) not in rig.where]
        raise InputError(f"views: the first timestamp is not seen from azimuth {', '.join(missing)} degrees; see chronosplat multiview")
    rgb = first.expand(len(rig.times), *first.shape).clone()
    for time, place in rig.where:
        image = rig.picture(time, place, config.input_size)
        assert image is not None
        rgb[time, place] = on_white(*image)
    with torch.no_grad():
        predicted = network(input_maps(rgb[None], config).to(device))
    return GaussianSequence(**{name: value[0] for name, value in predicted.fields().items()}, times=rig.times, world=rig.world)
