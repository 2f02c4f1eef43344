"""Metrics of pictures in time."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor

from chronosplat.cameras import Cameras


def flicker(predicted: Tensor, target: Tensor, cameras: Cameras, times: Tensor) -> float:
    """How wrongly pictures change: the mean of |(p[i+1] - p[i]) - (t[i+1] - t[i])| over a camera's consecutive pictures.

    0 for a perfect film and for one that is wrong by the same picture throughout; steady flicker of one gray level
    is 1/255.

    Args:
        predicted, target: [F, H, W, 3] on white, clipped to [0, 1] first.
        cameras, times: of the F pictures; pictures of one camera are ordered by time.

    Returns:
        The mean over pairs, NaN if no camera has two pictures.
    """
    films: dict[tuple[float, ...], list[int]] = {}
    for index, viewmat in enumerate(cameras.viewmats.double().round(decimals=5).flatten(1).tolist()):
        films.setdefault(tuple(viewmat), []).append(index)
    error = (predicted.clamp(0, 1) - target.clamp(0, 1)).double()
    found = []
    for film in films.values():
        order = sorted(film, key=lambda i: float(times[i]))
        found += [float((error[b] - error[a]).abs().mean()) for a, b in pairwise(order)]
    return sum(found) / len(found) if found else math.nan
