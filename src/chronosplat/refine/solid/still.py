"""Whether nothing moves in a video."""

from __future__ import annotations

import torch.nn.functional as F

from chronosplat.refine.solid.frames import Frames

BLOCK = 4  # pixels
# docs/results.md, "Solid bodies": still videos with noise of up to 5 gray levels, H.264 at CRF 18 to 38, have 1 to 6 levels in 31 of
# 36 cases, a part that moves by a quarter of a pixel at 128 pixels has 15 and more
NOISE = 6 / 255


def is_still(frames: Frames) -> bool:
    """Whether no block of pixels differs from the mean frame by more than a camera's noise and video compression do.

    Args:
        frames: of about 128 pixels.
    """
    shown = frames.on_white.permute(0, 3, 1, 2)
    mean = shown.mean(0, keepdim=True)
    gaps = [float(F.avg_pool2d(frame[None] - mean, BLOCK, BLOCK // 2).abs().mean(1).amax()) for frame in shown]
    return max(gaps) < NOISE
