"""Which way does a generated object face? The azimuth from which it looks like the video's first frame (L4GM, appendix E)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from chronosplat.cameras import orbit
from chronosplat.models.l4gm import L4GMConfig
from chronosplat.render import render
from chronosplat.scenes import Gaussians3D
from chronosplat.shapes import check_shape

COARSE = 4  # degrees between the first looks


@torch.no_grad()
def best_azimuth(gaussians: Gaussians3D, picture: Tensor, config: L4GMConfig, elevation: float = 0.0) -> int:
    """The whole degree in [-180, 180) from which the Gaussians differ least (squared error) from a picture.

    Searched coarse to fine: every 4 degrees, then every degree around each that is better than its neighbours. That gives the
    answer of all 360 renderings (docs/results.md) with a third of them.

    Args:
        gaussians: in the normalised world. picture: [H, W, 3] on white. elevation: of the picture's camera, in degrees.

    Raises:
        InputError: a picture of another shape.
    """
    check_shape("picture", picture, f"{config.input_size} {config.input_size} 3")
    return coarse_to_fine(lambda azimuths: azimuth_errors(gaussians, picture, azimuths, config, elevation))


def coarse_to_fine(errors_of: Callable[[list[int]], list[float]]) -> int:
    """The whole degree in [-180, 180) of least error; ``errors_of`` tells those of a list of degrees."""
    errors: dict[int, float] = {}

    def look(azimuths: list[int]) -> None:
        fresh = [a for a in azimuths if a not in errors]
        errors.update(zip(fresh, errors_of(fresh), strict=True))

    coarse = list(range(-180, 180, COARSE))
    look(coarse)
    for valley in [a for a in coarse if errors[a] <= min(errors[wrapped(a - COARSE)], errors[wrapped(a + COARSE)])]:
        look([wrapped(valley + step) for step in range(1 - COARSE, COARSE)])
    return min(sorted(errors), key=errors.__getitem__)


def azimuth_errors(gaussians: Gaussians3D, picture: Tensor, azimuths: list[int], config: L4GMConfig, elevation: float = 0.0) -> list[float]:
    """Mean squared error to a picture of the Gaussians seen from every azimuth (degrees)."""
    if not azimuths:
        return []
    cameras = orbit([float(a) for a in azimuths], elevation, config.input_size, config.radius, config.fovy)
    seen = render(gaussians, cameras).rgb
    return (seen - picture.to(seen)).square().mean((1, 2, 3)).tolist()


def wrapped(azimuth: int) -> int:
    """The same direction in [-180, 180)."""
    return (azimuth + 180) % 360 - 180
