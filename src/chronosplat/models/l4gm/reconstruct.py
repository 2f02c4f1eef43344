"""L4GM on a posed capture."""

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
        views: cameras at elevation 0. The first is the reference camera and defines the timestamps. The first timestamp needs
            all of the model's azimuths. At later ones, the first timestamp's image replaces a missing view, as in training.

    Returns:
        The sequence, on ``device``, in the capture's world and seconds.

    Raises:
        InputError: the first timestamp lacks a view.
    """
    rig = sort_into_rig(views, config.views, config.fovy, config.radius)
    first = rig.views_of(0, config.input_size)
    if first is None:
        missing = [f"{360 / config.views * view:g}" for view in range(config.views) if (0, view) not in rig.indices]
        raise InputError(f"views: the first timestamp is not seen from azimuth {', '.join(missing)} degrees; see chronosplat multiview")
    rgb = first.expand(len(rig.times), *first.shape).clone()
    for frame, view in rig.indices:
        image = rig.image(frame, view, config.input_size)
        assert image is not None
        rgb[frame, view] = on_white(*image)
    with torch.no_grad():
        predicted = network(input_maps(rgb[None], config).to(device))
    return GaussianSequence(**{name: value[0] for name, value in predicted.fields().items()}, times=rig.times, world=rig.world)
