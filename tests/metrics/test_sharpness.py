"""Sharpness and silhouettes: 1 for the truth, below 1 for blur, and the laws of a ratio and of an overlap."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from chronosplat.metrics import sharpness, silhouette_iou


def images(seed: int, frames: int = 2, size: int = 24) -> Tensor:
    return torch.rand(frames, size, size, 3, generator=torch.Generator().manual_seed(seed))


def blurred(x: Tensor, width: int = 3) -> Tensor:
    return F.avg_pool2d(x.permute(0, 3, 1, 2), width, stride=1, padding=width // 2, count_include_pad=False).permute(0, 2, 3, 1)


def disc(frames: int = 2, size: int = 24, radius: float = 8.0) -> Tensor:
    """Coverage of a disc in the middle, with a soft rim."""
    y, x = torch.meshgrid(*[torch.arange(size) - (size - 1) / 2] * 2, indexing="ij")
    return (radius + 0.5 - (x**2 + y**2).sqrt()).clamp(0, 1)[None, ..., None].expand(frames, -1, -1, -1)


def slow_sharpness(predicted: Tensor, target: Tensor, alpha: Tensor) -> float:
    """The definition, pixel by pixel."""
    sums = [0.0, 0.0]
    frames, height, width, _ = target.shape
    for f in range(frames):
        for y in range(1, height - 1):
            for x in range(1, width - 1):
                if float(alpha[f, y - 1 : y + 2, x - 1 : x + 2].min()) > 0.99:
                    for which, image in enumerate((predicted[f].double().clamp(0, 1), target[f].double().clamp(0, 1))):
                        across, down = (image[y, x + 1] - image[y, x - 1]) / 2, (image[y + 1, x] - image[y - 1, x]) / 2
                        sums[which] += float(torch.cat([across, down]).norm())
    return sums[0] / sums[1]


def test_the_definition() -> None:
    target = images(0)
    predicted, alpha = blurred(target) * 1.2 - 0.1, disc()
    assert sharpness(predicted, target, alpha) == pytest.approx(slow_sharpness(predicted, target, alpha), rel=1e-9)


def test_truth_blur_and_noise() -> None:
    target = blurred(images(1))
    noisy = target + 0.2 * (images(2) - 0.5)
    assert sharpness(target, target, disc()) == 1
    found = [sharpness(blurred(target, width), target, disc()) for width in (3, 5, 9)]
    assert 1 > found[0] > found[1] > found[2] > 0
    assert sharpness(noisy, target, disc()) > 1.1


def test_contrast_scales_it_and_brightness_does_not() -> None:
    target = images(3) * 0.5 + 0.2
    assert sharpness(0.5 * target, target, disc()) == pytest.approx(0.5, rel=1e-6)
    assert sharpness(target + 0.2, target, disc()) == pytest.approx(1, rel=1e-6)


def test_only_pixels_inside_the_silhouette_count() -> None:
    target, alpha = images(4), disc()
    outside = torch.where(alpha > 0, target, images(5))
    assert sharpness(outside, target, alpha) == 1
    assert sharpness(torch.where(alpha > 0, images(6), target), target, alpha) != pytest.approx(1, abs=1e-3)


def test_nothing_inside_is_not_measured() -> None:
    target = images(7)
    assert math.isnan(sharpness(target, target, torch.zeros_like(target[..., :1])))
    assert math.isnan(sharpness(target, torch.full_like(target, 0.5), disc()))
    assert math.isnan(sharpness(target, target, 0.9 * disc()))


def test_silhouettes() -> None:
    alpha = disc()
    assert silhouette_iou(alpha, alpha) == 1
    assert silhouette_iou(torch.zeros_like(alpha), alpha) == 0
    assert silhouette_iou(0.5 * alpha, alpha) == pytest.approx(0.5)
    assert silhouette_iou(alpha, 0.5 * alpha) == pytest.approx(0.5)
    left, right = torch.zeros(1, 8, 8, 1), torch.zeros(1, 8, 8, 1)
    left[:, :, :4], right[:, :, 2:6] = 1, 1
    assert silhouette_iou(left, right) == pytest.approx(2 / 6)


def test_silhouettes_are_averaged_over_images_with_the_object() -> None:
    alpha = torch.cat([disc(1, radius=9), disc(1, radius=6), disc(1, radius=3)])
    predicted = alpha * torch.tensor([1.0, 0.5, 0.0])[:, None, None, None]
    assert silhouette_iou(predicted, alpha) == pytest.approx(0.5)
    empty = torch.zeros_like(alpha)
    assert math.isnan(silhouette_iou(empty, empty))
    alpha = torch.cat([alpha[:1], empty[:1]])
    assert silhouette_iou(alpha, alpha) == 1
