"""Baselines that need no model."""

from __future__ import annotations

import torch
from torch import Tensor

from chronosplat.captures import Views


def white(targets: Views) -> Tensor:
    """Return a white image for each target, [F, H, W, 3]."""
    return torch.ones_like(targets.images)


def nearest_inputs(inputs: Views, targets: Views) -> Tensor:
    """Return the nearest input image for each target, [F, H, W, 3] on white."""
    return inputs.on_white()[nearest_indices(inputs, targets)]


def nearest_indices(inputs: Views, targets: Views) -> Tensor:
    """Return the index [F] of the nearest input for each target: nearest in camera, then in time."""
    camera = (inputs.cameras.viewmats[None] - targets.cameras.viewmats[:, None]).abs().amax((2, 3))
    time = (inputs.times[None] - targets.times[:, None]).abs()
    order = camera / camera.max().clamp_min(1e-9) * 1e3 + time / time.max().clamp_min(1e-9)
    return order.argmin(1)
