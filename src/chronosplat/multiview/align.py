"""The heading of a generated object: the azimuth at which it matches the video's first frame (L4GM, appendix E)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from chronosplat.cameras import orbit
from chronosplat.models.l4gm import L4GMConfig
from chronosplat.render import render
from chronosplat.scenes import Gaussians3D
from chronosplat.shapes import check_shape

COARSE = 4  # degrees between the first samples


@torch.no_grad()
def best_azimuth(gaussians: Gaussians3D, image: Tensor, config: L4GMConfig, elevation: float = 0.0) -> int:
    """Find the whole degree in [-180, 180) at which the Gaussians match an image best (squared error).

    Coarse to fine: every 4 degrees, then every degree around each local minimum. The answer equals that of all 360 renderings,
    with a third of them (docs/results.md).

    Args:
        gaussians: in the normalised world. image: [H, W, 3] on white. elevation: of the image's camera, in degrees.

    Raises:
        InputError: an image of another shape.
    """
    check_shape("image", image, f"{config.input_size} {config.input_size} 3")
    return coarse_to_fine(lambda azimuths: azimuth_errors(gaussians, image, azimuths, config, elevation))


def coarse_to_fine(errors_of: Callable[[list[int]], list[float]]) -> int:
    """Find the whole degree in [-180, 180) of least error; ``errors_of`` evaluates a list of degrees."""
    errors: dict[int, float] = {}

    def evaluate(azimuths: list[int]) -> None:
        fresh = [a for a in azimuths if a not in errors]
        errors.update(zip(fresh, errors_of(fresh), strict=True))

    coarse = list(range(-180, 180, COARSE))
    evaluate(coarse)
    for valley in [a for a in coarse if errors[a] <= min(errors[wrap(a - COARSE)], errors[wrap(a + COARSE)])]:
        evaluate([wrap(valley + step) for step in range(1 - COARSE, COARSE)])
    return min(sorted(errors), key=errors.__getitem__)


def azimuth_errors(gaussians: Gaussians3D, image: Tensor, azimuths: list[int], config: L4GMConfig, elevation: float = 0.0) -> list[float]:
    """Return the mean squared error between an image and the Gaussians rendered at each azimuth (degrees)."""
    if not azimuths:
        return []
    cameras = orbit([float(a) for a in azimuths], elevation, config.input_size, config.radius, config.fovy)
    rgb = render(gaussians, cameras).rgb
    return (rgb - image.to(rgb)).square().mean((1, 2, 3)).tolist()


def wrap(azimuth: int) -> int:
    """Wrap degrees to [-180, 180)."""
    return (azimuth + 180) % 360 - 180
