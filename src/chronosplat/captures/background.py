"""Alpha from a uniform background: what is connected to the border and has its colour is not the object."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
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
    reached = torch.from_numpy(np.stack([reached_from_border(open_) for open_ in (soft < 1).numpy()]))
    alphas = torch.where(reached, soft, torch.ones_like(soft))[..., None]
    straight = ((images - (1 - alphas) * color) / alphas.clamp_min(1e-3)).clamp(0, 1)
    return torch.where(alphas > 0, straight, torch.zeros_like(straight)), alphas


def reached_from_border(open_: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The open cells [H, W] that the border reaches through open cells (4 neighbours).

    Whole runs of open cells in a row, then in a column, are filled at once, in turns until nothing changes: a few turns where
    growing pixel by pixel takes hundreds.
    """
    reached = np.zeros_like(open_)
    reached[0], reached[-1], reached[:, 0], reached[:, -1] = open_[0], open_[-1], open_[:, 0], open_[:, -1]
    while True:
        grown = _fill_runs(open_.T, _fill_runs(open_, reached).T).T
        if np.array_equal(grown, reached):
            return reached
        reached = grown


def _fill_runs(open_: NDArray[np.bool_], seeds: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Every run of open cells in a row that holds a seed."""
    closed = ~open_
    closed = np.concatenate([np.ones_like(closed[:, :1]), closed], 1)  # a run ends where its row ends
    runs = np.cumsum(closed.ravel()).reshape(closed.shape)[:, 1:]
    hit = np.zeros(int(runs[-1, -1]) + 1, bool)
    hit[runs[seeds]] = True
    return hit[runs] & open_


def separate(images: Tensor, what: str) -> tuple[Tensor, Tensor, str]:
    """Colours and alphas of opaque pictures, and a note that says what was found."""
    color = uniform_background(images)
    if color is None:
        note = f"{what}: no alpha and no uniform background; the whole picture is taken as the object"
        return images, torch.ones_like(images[..., :1]), note
    return *cut_out(images, color), uniform_note(what, color)


def uniform_note(what: str, color: Tensor) -> str:
    """What to tell about a background that was found."""
    rgb = ", ".join(str(round(255 * float(c))) for c in color)
    return f"{what}: uniform background rgb({rgb}) found and cut away"
