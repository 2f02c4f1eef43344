"""Alpha from a uniform background: what is connected to the border and has its colour is not the object."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

NEAR, FAR = 0.03, 0.14  # colour distances (largest channel) at which a pixel is surely background, surely object
UNIFORM_SHARE = 0.9  # of the border pixels must be near the background colour


def uniform_background(images: Tensor) -> Tensor | None:
    """The colour [3] that nearly all border pixels of all pictures [F, H, W, 3] share, or None."""
    border = torch.cat([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], 1).flatten(0, 1)
    color = border.median(0).values
    near = ((border - color).abs().amax(-1) < FAR / 2).float().mean()
    return color if float(near) >= UNIFORM_SHARE else None


def cut_out(images: Tensor, color: Tensor) -> tuple[Tensor, Tensor]:
    """Straight colours [F, H, W, 3] and alphas [F, H, W, 1] of pictures on a background colour.

    Pixels of the background's colour inside the object stay opaque: only what the border reaches is cut away.
    """
    distance = (images - color).abs().amax(-1)
    soft = ((distance - NEAR) / (FAR - NEAR)).clamp(0, 1)
    open_ = (soft < 1).float()[:, None]
    reached = torch.zeros_like(open_)
    for side in (reached[..., 0, :], reached[..., -1, :], reached[..., :, 0], reached[..., :, -1]):
        side.fill_(1)
    reached = reached * open_
    while True:  # grow from the border through pixels that are not surely object
        grown = F.max_pool2d(reached, 3, 1, 1) * open_
        if torch.equal(grown, reached):
            break
        reached = grown
    alphas = torch.where(reached[:, 0] > 0, soft, torch.ones_like(soft))[..., None]
    straight = ((images - (1 - alphas) * color) / alphas.clamp_min(1e-3)).clamp(0, 1)
    return torch.where(alphas > 0, straight, torch.zeros_like(straight)), alphas


def separate(images: Tensor, what: str) -> tuple[Tensor, Tensor, str]:
    """Colours and alphas of opaque pictures, and a note that says what was found."""
    color = uniform_background(images)
    if color is None:
        note = f"{what}: no alpha and no uniform background; the whole picture is taken as the object"
        return images, torch.ones_like(images[..., :1]), note
    rgb = ", ".join(str(round(255 * float(c))) for c in color)
    return *cut_out(images, color), f"{what}: uniform background rgb({rgb}) found and cut away"
