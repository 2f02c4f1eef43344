"""Video metrics."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor

from chronosplat.cameras import Cameras


def flicker(predicted: Tensor, target: Tensor, cameras: Cameras, times: Tensor) -> float:
    """Compute the mean of |(p[i+1] - p[i]) - (t[i+1] - t[i])| over each camera's consecutive frames.

    A constant error per camera scores 0; steady flicker of one gray level scores 1/255.

    Args:
        predicted, target: [F, H, W, 3] on white; clipped to [0, 1] first.
        cameras, times: cameras and timestamps of the F frames; frames of one camera are ordered by time.

    Returns:
        The mean over pairs; NaN if no camera has two frames.
    """
    videos: dict[tuple[float, ...], list[int]] = {}
    for index, viewmat in enumerate(cameras.viewmats.double().round(decimals=5).flatten(1).tolist()):
        videos.setdefault(tuple(viewmat), []).append(index)
    error = (predicted.clamp(0, 1) - target.clamp(0, 1)).double()
    orders = (sorted(frames, key=lambda i: float(times[i])) for frames in videos.values())
    changes = [float((error[b] - error[a]).abs().mean()) for order in orders for a, b in pairwise(order)]
    return sum(changes) / len(changes) if changes else math.nan
