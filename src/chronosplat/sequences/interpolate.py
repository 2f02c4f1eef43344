"""Frame interpolation: two new frames between every two, by L4GM's interpolation model (section 4.3).

Its inputs are linear blends of the two frames' views: the video in the reference view, renderings of the reconstruction in
the others. It predicts Gaussians for four frames, both ends included. The last three of each pair are kept (all four of
the first), so that every frame comes from the same network, without seams at the reconstructed frames.
"""

from __future__ import annotations

import torch
from torch import Tensor

from chronosplat.models.l4gm import L4GM, PredictedSplats, input_maps
from chronosplat.shapes import check_shape

PAIR_FRAMES = 4  # both ends and two in between
FACTOR = PAIR_FRAMES - 1  # of the frame rate


@torch.no_grad()
def interpolate_pair(model: L4GM, before: Tensor, after: Tensor) -> PredictedSplats:
    """Predict four frames, the first and last at the times of the inputs.

    Args:
        model: the interpolation model. before, after: [V, H, W, 3] on white, all views of two frames.

    Raises:
        InputError: shapes that do not fit the model.
    """
    size, count = model.config.input_size, model.config.views
    for name, views in (("before", before), ("after", after)):
        check_shape(name, views, f"{count} {size} {size} 3")
    weights = torch.arange(PAIR_FRAMES, dtype=before.dtype) / FACTOR
    rgb = torch.stack([torch.lerp(before, after, float(weight)) for weight in weights])
    return model(input_maps(rgb[None], model.config).to(next(model.parameters()).device))


def interpolated_times(times: Tensor) -> Tensor:
    """Insert two evenly spaced timestamps after each of [T] but the last: [3 (T - 1) + 1]."""
    steps = torch.arange(FACTOR, dtype=times.dtype) / FACTOR
    inner = times[:-1, None] + times.diff()[:, None] * steps
    return torch.cat([inner.flatten(), times[-1:]])
