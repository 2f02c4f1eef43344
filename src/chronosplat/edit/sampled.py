"""A scene at sampled times, and decisions about Gaussians that persist from one to the next."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from chronosplat.scenes import FAINT, Gaussians3D, Scene

SAMPLES = 24  # times of a scene that is continuous in time
FIVE, NINETY_FIVE = 0.05, 0.95  # quantiles that bound a scene without its stragglers


def sampled_times(scene: Scene, count: int = SAMPLES) -> list[float]:
    """Return the seconds of the stored frames, else ``count`` evenly spaced ones; one for a static scene."""
    return scene.timestamps(count) or [0.0]


def sampled(scene: Scene) -> Iterator[Gaussians3D]:
    """Yield all N Gaussians at each sampled time, in the capture's world."""
    return (scene.at(seconds) for seconds in sampled_times(scene))


def has_frames(scene: Scene) -> bool:
    """Whether frames are edited one by one: they are stored, and index n is another Gaussian in each."""
    return scene.num_frames is not None and scene.num_frames > 1


def voted(scene: Scene, inside: Tensor, opacities: Tensor) -> Tensor:
    """Decide which Gaussians lie inside.

    Args:
        inside: bool [S, N] at the sampled times. opacities: [S, N].

    Returns:
        A mask for ``Editable.select``. Stored frames: each on its own. Else Gaussians that are inside at least half of the
        time that they are visible, each time weighted by their opacity.
    """
    if has_frames(scene):
        return inside
    return (inside * opacities).sum(0) >= 0.5 * opacities.sum(0)


def bounds(scene: Scene, low: float = 0.0, high: float = 1.0) -> tuple[Tensor, Tensor]:
    """Return the least and the most coordinates [3] of visible centres over time, or their quantiles."""
    lows, highs = [], []
    for still in sampled(scene):
        means = still.means[still.opacities >= FAINT]
        if len(means):
            ordered = means.sort(0).values
            lows.append(ordered[round(low * (len(means) - 1))])
            highs.append(ordered[round(high * (len(means) - 1))])
    if not lows:
        return torch.zeros(3), torch.zeros(3)
    return torch.stack(lows).amin(0), torch.stack(highs).amax(0)
