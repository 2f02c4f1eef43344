"""The profile of a body by a depth map of its rest frame, which inflation alone cannot know."""

from __future__ import annotations

import torch
from torch import Tensor

from chronosplat.refine.solid.grids import blur, erode
from chronosplat.shapes import InputError

DETAIL = 4 / 128  # of the image's size: blur; what is smaller is the roundness of parts, not where they lie
LEAST = 16  # pixels inside, from which on the outline's are left out


def middle_plane(depth: Tensor, mask: Tensor, height: Tensor) -> Tensor:
    """Depth of the middle between front and back [H, W] in pixels, mean zero; 0 outside.

    Args:
        depth: [H, W], larger is farther, up to a positive factor and an offset. mask: [H, W] bool. height: [H, W] half the
            thickness by inflation, which the body keeps.

    Raises:
        InputError: the depth map is not finite.
    """
    if not bool(torch.isfinite(depth).all()):
        raise InputError("depth: the map has values that are not finite")
    middle = scale_of(depth, mask, height) * depth + height
    middle = middle - middle[mask].mean()
    rows, columns = mask.nonzero().unbind(1)
    far = float(torch.maximum(rows.max() - rows.min(), columns.max() - columns.min()) + 1) / 2
    return torch.where(mask, middle.clamp(-far, far), 0.0)


def scale_of(depth: Tensor, mask: Tensor, height: Tensor) -> float:
    """Pixels that a unit of a depth map stands for: as many as make it as round, locally, as the inflated silhouette."""
    weight, sigma = mask.float(), DETAIL * max(mask.shape)
    inner = erode(weight, 2) > 0.5
    inner = inner if int(inner.sum()) >= LEAST else mask
    found, expected = ((x - blur(x[..., None], weight, sigma)[..., 0])[inner] for x in (depth, -height))
    alike = found * expected > 0
    return float(expected[alike].abs().median() / found[alike].abs().median().clamp_min(1e-9)) if bool(alike.any()) else 0.0
