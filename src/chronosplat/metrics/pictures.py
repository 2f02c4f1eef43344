"""Picture metrics, each with its exact protocol. Pictures are [..., H, W, 3] in [0, 1]."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from chronosplat.shapes import InputError

PSNR_MOST = 100.0  # a perfect picture, so that means stay finite
SSIM_WINDOW, SSIM_SIGMA, SSIM_K1, SSIM_K2 = 11, 1.5, 0.01, 0.03


def psnr(predicted: Tensor, target: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of one picture or a stack taken as one, peak 1, clipped to [0, 1] first."""
    return _decibel(float(torch.mean((predicted.clamp(0, 1).double() - target.clamp(0, 1).double()) ** 2)))


def mean_psnr(predicted: Tensor, target: Tensor) -> float:
    """The mean over pictures [F, H, W, 3] of each picture's PSNR (the papers' protocol)."""
    return sum(psnr(p, t) for p, t in zip(predicted, target, strict=True)) / max(len(predicted), 1)


def foreground_psnr(predicted: Tensor, target: Tensor, alpha: Tensor) -> float:
    """The mean over pictures of the PSNR of the object alone: squared errors weighted by the target's coverage.

    Pictures are [F, H, W, 3] on white, ``alpha`` [F, H, W, 1] is the target's. Pictures without the object do not count; NaN if
    none has it. White surroundings cannot flatter this one.
    """
    found = []
    for p, t, a in zip(predicted.clamp(0, 1).double(), target.clamp(0, 1).double(), alpha.double(), strict=True):
        if float(a.sum()) > 0:
            found.append(_decibel(float(((p - t) ** 2 * a).sum() / (3 * a.sum()))))
    return sum(found) / len(found) if found else math.nan


def ssim(predicted: Tensor, target: Tensor) -> float:
    """Structural similarity (Wang et al., 2004), the mean over pictures [F, H, W, 3].

    Gaussian window of 11x11 pixels and sigma 1.5, K1 0.01, K2 0.03, range 1, clipped to [0, 1] first; each channel alone, the mean over
    all pixels of the picture, which is mirrored at its border. Equal to torchmetrics' (since its 1.4.2).

    Raises:
        InputError: pictures smaller than the window.
    """
    if min(target.shape[-3:-1]) < SSIM_WINDOW:
        raise InputError(f"ssim: expected pictures of at least {SSIM_WINDOW}x{SSIM_WINDOW}, got {target.shape[-2]}x{target.shape[-3]}")
    border = (SSIM_WINDOW // 2,) * 4
    x, y = (F.pad(t.clamp(0, 1).double().permute(0, 3, 1, 2), border, mode="reflect") for t in (predicted, target))
    mean_x, mean_y, xx, yy, xy = (_windowed(t) for t in (x, y, x * x, y * y, x * y))
    variances = (xx - mean_x**2).clamp_min(0) + (yy - mean_y**2).clamp_min(0)
    covariance = xy - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + SSIM_K1**2) / (mean_x**2 + mean_y**2 + SSIM_K1**2)
    return float((luminance * (2 * covariance + SSIM_K2**2) / (variances + SSIM_K2**2)).mean())


def _windowed(x: Tensor) -> Tensor:
    """[F, C, H, W] averaged by the Gaussian window, where it fits."""
    offsets = torch.arange(SSIM_WINDOW, dtype=x.dtype, device=x.device) - SSIM_WINDOW // 2
    weights = torch.exp(-0.5 * (offsets / SSIM_SIGMA) ** 2)
    weights = (weights / weights.sum()).expand(x.shape[1], 1, SSIM_WINDOW)
    rows = F.conv2d(x, weights[..., None], groups=x.shape[1])
    return F.conv2d(rows, weights[:, :, None], groups=x.shape[1])


def _decibel(error: float) -> float:
    return min(PSNR_MOST, -10 * math.log10(error)) if error > 0 else PSNR_MOST
