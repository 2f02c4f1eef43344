"""More frames: two in between every two, by L4GM's interpolation model (section 4.3).

Both ends are seen from all sides, the reference view in the video and the others rendered from the reconstruction. The
pictures in between are blends, out of which the network makes Gaussians of four frames, the ends among them. Of each pair
the last three are kept (of the first pair all four), so that every frame comes from the same network: no seam where a
reconstructed frame would stand between interpolated ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

from chronosplat.models.l4gm import L4GM, PredictedSplats, input_maps
from chronosplat.shapes import check_shape

PAIR_FRAMES = 4  # both ends and two in between
FACTOR = PAIR_FRAMES - 1  # times the frame rate


@torch.no_grad()
def interpolate_pair(model: L4GM, before: Tensor, after: Tensor) -> PredictedSplats:
    """Four frames, the first and last at the moments of the pictures.

    Args:
        model: the interpolation model. before, after: [V, H, W, 3] on white, two moments from all sides.

    Raises:
        InputError: shapes that do not fit the model.
    """
    size, count = model.config.input_size, model.config.views
    for name, views in (("before", before), ("after", after)):
        check_shape(name, views, f"{count} {size} {size} 3")
    shares = torch.arange(PAIR_FRAMES, dtype=before.dtype) / FACTOR
    rgb = torch.stack([torch.lerp(before, after, float(share)) for share in shares])
    return model(input_maps(rgb[None], model.config).to(next(model.parameters()).device))


def between_times(times: Tensor) -> Tensor:
    """[3 (T - 1) + 1] moments: those of the frames [T], and two at even distances after each but the last."""
    steps = torch.arange(FACTOR, dtype=times.dtype) / FACTOR
    inner = times[:-1, None] + times.diff()[:, None] * steps
    return torch.cat([inner.flatten(), times[-1:]])
