"""Whether nothing moves in a video."""

from __future__ import annotations

import torch.nn.functional as F

from chronosplat.refine.solid.frames import Frames

BLOCK = 4  # pixels
# largest mean difference of a block to the mean frame. Still videos, noise of up to 5 gray levels, H.264 at CRF 18 to 38: 1 to 12 levels
# (one of 36 more); a part that moves by a quarter of a pixel at 128x128: 15 and more
NOISE = 8 / 255


def is_still(frames: Frames) -> bool:
    """Whether all frames are equal within the noise of a camera and of video compression, at about 128 pixels."""
    shown = frames.on_white.permute(0, 3, 1, 2)
    mean = shown.mean(0, keepdim=True)
    gaps = [float(F.avg_pool2d(frame[None] - mean, BLOCK, BLOCK // 2).abs().mean(1).amax()) for frame in shown]
    return max(gaps) < NOISE
