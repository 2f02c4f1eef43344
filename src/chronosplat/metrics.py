"""Picture metrics, each with its exact protocol. Pictures are [..., H, W, 3] in [0, 1]."""

from __future__ import annotations

import math

import torch
from torch import Tensor

PSNR_MOST = 100.0  # a perfect picture, so that means stay finite


def psnr(predicted: Tensor, target: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of one picture or a stack taken as one, peak 1, clipped to [0, 1] first."""
    error = float(torch.mean((predicted.clamp(0, 1).double() - target.clamp(0, 1).double()) ** 2))
    return min(PSNR_MOST, -10 * math.log10(error)) if error > 0 else PSNR_MOST


def mean_psnr(predicted: Tensor, target: Tensor) -> float:
    """The mean over pictures [F, H, W, 3] of each picture's PSNR (the papers' protocol)."""
    return sum(psnr(p, t) for p, t in zip(predicted, target, strict=True)) / max(len(predicted), 1)
