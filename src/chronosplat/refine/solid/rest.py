"""Which frame the body is built from."""

from __future__ import annotations

import torch

from chronosplat.refine.solid.frames import Frames
from chronosplat.refine.solid.grids import dilate

AREA, OUTLINE, MIDDLE = 0.5, 0.7, 0.1  # weights beside the mean overlap with all frames


def choose_rest(frames: Frames) -> int:
    """The frame with a typical, large silhouette whose outline is long: separate limbs are seen as such."""
    masks = frames.masks.float()
    flat = masks.flatten(1)
    inter = flat @ flat.T
    areas = flat.sum(1)
    overlap = (inter / (areas[:, None] + areas[None] - inter).clamp_min(1)).mean(1)
    outline = (dilate(masks) - masks).sum((1, 2))
    middle = 1 - (torch.arange(len(frames)) - len(frames) / 2).abs() / len(frames)
    score = overlap + AREA * areas / areas.max() + OUTLINE * outline / outline.max() + MIDDLE * middle
    return int(score.argmax())
