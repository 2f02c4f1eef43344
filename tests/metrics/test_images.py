"""Image metrics: equal to torchmetrics, perfect for identical images; the foreground metric ignores the background."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from chronosplat.metrics import PSNR_MAX, foreground_psnr, mean_psnr, psnr, ssim
from chronosplat.shapes import InputError
from tests.scene_kit import law, seeds

SIZES = [(11, 11), (12, 17), (40, 23), (64, 64)]


def images(seed: int, height: int = 16, width: int = 16, frames: int = 2) -> Tensor:
    return torch.rand(frames, height, width, 3, generator=torch.Generator().manual_seed(seed))


def channels_first(x: Tensor) -> Tensor:
    return x.double().permute(0, 3, 1, 2)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("noise", [0.01, 0.2, 1.0])
def test_psnr_equals_torchmetrics(height: int, width: int, noise: float) -> None:
    functional = pytest.importorskip("torchmetrics.functional.image")
    target = images(1, height, width)
    predicted = (target + noise * (images(2, height, width) - 0.5)).clamp(0, 1)
    as_one = functional.peak_signal_noise_ratio(channels_first(predicted), channels_first(target), data_range=1.0)
    each = functional.peak_signal_noise_ratio(channels_first(predicted), channels_first(target), data_range=1.0, dim=(1, 2, 3))
    assert psnr(predicted, target) == pytest.approx(float(as_one), abs=1e-5)
    assert mean_psnr(predicted, target) == pytest.approx(float(each), abs=1e-5)


def ssim_by_torchmetrics(predicted: Tensor, target: Tensor) -> float:
    functional = pytest.importorskip("torchmetrics.functional.image")
    return float(functional.structural_similarity_index_measure(channels_first(predicted), channels_first(target), data_range=1.0))


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("noise", [0.01, 0.2, 1.0])
def test_ssim_equals_torchmetrics(height: int, width: int, noise: float) -> None:
    target = images(3, height, width, frames=3)
    predicted = (target + noise * (images(4, height, width, frames=3) - 0.5)).clamp(0, 1)
    assert ssim(predicted, target) == pytest.approx(ssim_by_torchmetrics(predicted, target), abs=1e-9)


def test_ssim_of_smooth_and_flat_images_equals_torchmetrics() -> None:
    """Where variances vanish, rounding could make them negative."""
    ramp = torch.linspace(0, 1, 24)[None, None, :, None].expand(1, 20, 24, 3)
    flat = torch.full((1, 20, 24, 3), 0.7)
    for predicted, target in ((ramp, flat), (flat, flat - 0.3), (flat, flat), (ramp, ramp.flip(2))):
        assert ssim(predicted, target) == pytest.approx(ssim_by_torchmetrics(predicted, target), abs=1e-9)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_identical_images(height: int, width: int) -> None:
    perfect = images(5, height, width)
    assert psnr(perfect, perfect) == PSNR_MAX == 100.0
    assert mean_psnr(perfect, perfect) == 100.0
    assert ssim(perfect, perfect) == pytest.approx(1.0, abs=1e-12)
    assert foreground_psnr(perfect, perfect, images(6, height, width)[..., :1]) == 100.0


def test_ssim_clips_first_and_is_symmetric() -> None:
    x, y = images(7), images(8)
    wild = x * 3 - 1
    assert ssim(wild, y) == pytest.approx(ssim(wild.clamp(0, 1), y), abs=1e-12)
    assert ssim(x, y) == pytest.approx(ssim(y, x), abs=1e-12)


def test_ssim_is_the_mean_over_images() -> None:
    x, y = images(9, frames=4), images(10, frames=4)
    y[:2] = x[:2]
    each = [ssim(x[i : i + 1], y[i : i + 1]) for i in range(4)]
    assert each[:2] == pytest.approx([1.0, 1.0])
    assert max(each[2:]) < 0.5
    assert ssim(x, y) == pytest.approx(sum(each) / 4)


@pytest.mark.parametrize(("height", "width"), [(10, 11), (11, 10), (1, 64), (8, 8)])
def test_ssim_refuses_images_smaller_than_its_window(height: int, width: int) -> None:
    small = images(0, height, width)
    with pytest.raises(InputError, match=f"^ssim: expected images of at least 11x11, got {width}x{height}$"):
        ssim(small, small)


def test_foreground_psnr_ignores_the_background() -> None:
    @law
    @given(seeds(), st.floats(-1, 1))
    def check(seed: int, offset: float) -> None:
        target, predicted, other = images(seed), images(seed + 1), images(seed + 2)
        alpha = torch.zeros(2, 16, 16, 1)
        alpha[:, 4:11, 3:9] = 1
        moved = torch.where(alpha > 0, predicted, other + offset)
        assert foreground_psnr(moved, target, alpha) == pytest.approx(foreground_psnr(predicted, target, alpha), abs=1e-9)
        inside = slice(4, 11), slice(3, 9)
        expected = mean_psnr(predicted[:, *inside], target[:, *inside])
        assert foreground_psnr(predicted, target, alpha) == pytest.approx(expected, abs=1e-9)

    check()


def test_foreground_errors_are_weighted_by_coverage() -> None:
    """An error of 0.1 at full coverage, of 0.2 at half coverage."""
    target = torch.zeros(1, 1, 2, 3)
    predicted = torch.tensor([0.1, 0.2])[None, None, :, None].expand(1, 1, 2, 3)
    alpha = torch.tensor([1.0, 0.5])[None, None, :, None]
    mean = (0.1**2 * 1 + 0.2**2 * 0.5) / 1.5
    assert foreground_psnr(predicted, target, alpha) == pytest.approx(-10 * math.log10(mean), abs=1e-5)


def test_white_background_does_not_raise_foreground_psnr() -> None:
    target = torch.ones(1, 32, 32, 3)
    target[:, 14:18, 14:18] = 0.0
    alpha = (target[..., :1] == 0).float()
    white = torch.ones_like(target)
    assert foreground_psnr(white, target, alpha) == pytest.approx(0.0, abs=1e-9)
    assert psnr(white, target) > 17


def test_images_without_the_object_do_not_count() -> None:
    target, predicted, alpha = images(11), images(12), torch.ones(2, 16, 16, 1)
    alpha[1] = 0
    assert foreground_psnr(predicted, target, alpha) == pytest.approx(psnr(predicted[0], target[0]))
    assert math.isnan(foreground_psnr(predicted, target, torch.zeros_like(alpha)))
