"""Alpha from a uniform background: pixels of its colour that are connected to the border are background."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chronosplat.events import Notice, info

NEAR, FAR = 0.03, 0.14  # colour distances (largest channel) at which a pixel is surely background, surely object
UNIFORM_SHARE = 0.9  # of the border pixels must be near the background colour


def border_pixels(image: Tensor) -> Tensor:
    """Return the border pixels [P, 3] of an image [H, W, 3]."""
    return torch.cat([image[0], image[-1], image[:, 0], image[:, -1]])


def uniform_background(borders: Iterable[Tensor]) -> Tensor | None:
    """Return the colour [3] that nearly all border pixels [P, 3] of all images share, or None."""
    border = torch.cat(list(borders))
    color = border.median(0).values
    near = ((border - color).abs().amax(-1) < FAR / 2).float().mean()
    return color if float(near) >= UNIFORM_SHARE else None


def remove_background(images: Tensor, color: Tensor) -> tuple[Tensor, Tensor]:
    """Return straight colours [F, H, W, 3] and alphas [F, H, W, 1] of images on a background of one colour.

    Pixels of that colour inside the object stay opaque: only those connected to the border are removed.
    """
    soft = (images - color).abs_().amax(-1).sub_(NEAR).div_(FAR - NEAR).clamp_(0, 1)  # in place: images may be large
    reached = torch.from_numpy(np.stack([reached_from_border(mask) for mask in (soft < 1).numpy()]))
    alphas = torch.where(reached, soft, torch.ones_like(soft))[..., None]
    straight = torch.addcmul(images, 1 - alphas, color, value=-1).div_(alphas.clamp_min(1e-3)).clamp_(0, 1)
    return straight.mul_(alphas > 0), alphas


def reached_from_border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Flood-fill a mask [H, W] from the border (4 neighbours).

    Fills whole runs, along rows and columns in turn, until nothing changes.
    """
    reached = np.zeros_like(mask)
    reached[0], reached[-1], reached[:, 0], reached[:, -1] = mask[0], mask[-1], mask[:, 0], mask[:, -1]
    while True:
        grown = _fill_runs(mask.T, _fill_runs(mask, reached).T).T
        if np.array_equal(grown, reached):
            return reached
        reached = grown


def _fill_runs(mask: NDArray[np.bool_], seeds: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Select the horizontal runs of the mask that hold a seed."""
    closed = np.concatenate([np.ones_like(mask[:, :1]), ~mask], 1)  # a run ends where its row ends
    runs = np.cumsum(closed.ravel(), dtype=np.int32).reshape(closed.shape)[:, 1:]
    hit = np.zeros(int(runs[-1, -1]) + 1, bool)
    hit[runs[seeds]] = True
    return hit[runs] & mask


def uniform_notice(what: str, color: Tensor) -> Notice:
    """Return the notice about a removed background."""
    rgb = ", ".join(str(round(255 * float(c))) for c in color)
    return info("uniform-background", f"{what}: uniform background rgb({rgb}) found and removed")
