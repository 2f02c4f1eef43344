"""Image metrics, each with its exact protocol. Images are [..., H, W, 3] in [0, 1], clipped to that range first."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from chronosplat.shapes import InputError

PSNR_MAX = 100.0  # of identical images, so that means stay finite
SSIM_WINDOW, SSIM_SIGMA, SSIM_K1, SSIM_K2 = 11, 1.5, 0.01, 0.03
INSIDE = 0.99  # coverage of a pixel that lies inside the silhouette


def psnr(predicted: Tensor, target: Tensor) -> float:
    """Compute the peak signal-to-noise ratio in dB, peak 1, of one image or of a stack taken as one image."""
    return _decibel(float(torch.mean((predicted.clamp(0, 1).double() - target.clamp(0, 1).double()) ** 2)))


def mean_psnr(predicted: Tensor, target: Tensor) -> float:
    """Average the PSNR of each image [F, H, W, 3] (the papers' protocol)."""
    return sum(psnr(p, t) for p, t in zip(predicted, target, strict=True)) / max(len(predicted), 1)


def foreground_psnr(predicted: Tensor, target: Tensor, alpha: Tensor) -> float:
    """Average the PSNR of the object alone: squared errors are weighted by coverage, so that the background cannot raise it.

    Args:
        predicted, target: [F, H, W, 3] on white.
        alpha: [F, H, W, 1] coverage in the target.

    Returns:
        The mean over images that contain the object; NaN if none does.
    """
    values = []
    for p, t, a in zip(predicted.clamp(0, 1).double(), target.clamp(0, 1).double(), alpha.double(), strict=True):
        if float(a.sum()) > 0:
            values.append(_decibel(float(((p - t) ** 2 * a).sum() / (3 * a.sum()))))
    return sum(values) / len(values) if values else math.nan


def ssim(predicted: Tensor, target: Tensor) -> float:
    """Compute the mean structural similarity (Wang et al., 2004) of images [F, H, W, 3].

    Gaussian window of 11x11 pixels, sigma 1.5, K1 0.01, K2 0.03, range 1. Channels are independent, borders are mirrored,
    and all pixels count. Equals torchmetrics >= 1.4.2.

    Raises:
        InputError: the images are smaller than the window.
    """
    if min(target.shape[-3:-1]) < SSIM_WINDOW:
        raise InputError(f"ssim: expected images of at least {SSIM_WINDOW}x{SSIM_WINDOW}, got {target.shape[-2]}x{target.shape[-3]}")
    border = (SSIM_WINDOW // 2,) * 4
    x, y = (F.pad(t.clamp(0, 1).double().permute(0, 3, 1, 2), border, mode="reflect") for t in (predicted, target))
    mean_x, mean_y, xx, yy, xy = (_windowed(t) for t in (x, y, x * x, y * y, x * y))
    variances = (xx - mean_x**2).clamp_min(0) + (yy - mean_y**2).clamp_min(0)
    covariance = xy - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + SSIM_K1**2) / (mean_x**2 + mean_y**2 + SSIM_K1**2)
    return float((luminance * (2 * covariance + SSIM_K2**2) / (variances + SSIM_K2**2)).mean())


def sharpness(predicted: Tensor, target: Tensor, alpha: Tensor) -> float:
    """Compute the gradient magnitude inside the silhouette, relative to the target's: 1 as sharp, below 1 blurred, above 1 noisy.

    The gradient of a pixel are its central differences; its magnitude is the root of their sum of squares over both directions
    and the three channels. A pixel is inside if it and its eight neighbours are covered, so that the outline does not count.

    Args:
        predicted, target: [F, H, W, 3] on white.
        alpha: [F, H, W, 1] coverage in the target.

    Returns:
        The ratio of the sums over all pixels inside; NaN if there are none, or the target is flat there.
    """
    inside = -F.max_pool2d(-alpha.double().permute(0, 3, 1, 2), 3, stride=1)[:, 0] > INSIDE  # [F, H - 2, W - 2]
    sums = [float(_gradients(images.clamp(0, 1).double())[inside].sum()) for images in (predicted, target)]
    return sums[0] / sums[1] if sums[1] > 0 else math.nan


def silhouette_iou(predicted: Tensor, target: Tensor) -> float:
    """Average the overlap of coverage images [F, H, W, 1]: sum of the pixelwise minima over sum of the maxima, 1 if equal.

    Returns:
        The mean over images that contain the object in either; NaN if none does.
    """
    low, high = (pick(predicted.clamp(0, 1), target).double().sum((1, 2, 3)) for pick in (torch.minimum, torch.maximum))
    return float((low / high)[high > 0].mean()) if bool((high > 0).any()) else math.nan


def _gradients(images: Tensor) -> Tensor:
    """Gradient magnitudes [F, H - 2, W - 2] of the inner pixels of images [F, H, W, 3]."""
    across = (images[:, 1:-1, 2:] - images[:, 1:-1, :-2]) / 2
    down = (images[:, 2:, 1:-1] - images[:, :-2, 1:-1]) / 2
    return (across.square() + down.square()).sum(-1).sqrt()


def _windowed(x: Tensor) -> Tensor:
    """Filter [F, C, H, W] with the Gaussian window, without padding."""
    offsets = torch.arange(SSIM_WINDOW, dtype=x.dtype, device=x.device) - SSIM_WINDOW // 2
    weights = torch.exp(-0.5 * (offsets / SSIM_SIGMA) ** 2)
    weights = (weights / weights.sum()).expand(x.shape[1], 1, SSIM_WINDOW)
    rows = F.conv2d(x, weights[..., None], groups=x.shape[1])
    return F.conv2d(rows, weights[:, :, None], groups=x.shape[1])


def _decibel(error: float) -> float:
    return min(PSNR_MAX, -10 * math.log10(error)) if error > 0 else PSNR_MAX
