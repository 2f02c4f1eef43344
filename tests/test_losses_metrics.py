"""Losses and metrics against closed-form values."""

from __future__ import annotations

import pytest
import torch

from chronosplat.losses import gradient_difference, mse
from chronosplat.metrics import mean_psnr, psnr


def image(seed: int = 0, frames: int = 2) -> torch.Tensor:
    return torch.rand(frames, 12, 10, 3, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("error", "decibel"), [(0.1, 20.0), (0.01, 40.0), (1.0, 0.0)])
def test_psnr_of_a_known_error(error: float, decibel: float) -> None:
    assert psnr(torch.full((4, 4, 3), error), torch.zeros(4, 4, 3)) == pytest.approx(decibel, abs=1e-5)


def test_identical_images_score_100_db() -> None:
    assert psnr(image(), image()) == 100.0
    assert psnr(image(), image() + 1e-7) == 100.0


def test_psnr_clips_first() -> None:
    assert psnr(torch.full((2, 2, 3), 1.7), torch.ones(2, 2, 3)) == 100.0
    assert psnr(torch.full((2, 2, 3), -5.0), torch.full((2, 2, 3), 0.1)) == pytest.approx(20.0, abs=1e-5)


def test_mean_psnr_is_the_mean_over_images() -> None:
    predicted = torch.stack([torch.full((4, 4, 3), 0.1), torch.full((4, 4, 3), 0.01)])
    assert mean_psnr(predicted, torch.zeros(2, 4, 4, 3)) == pytest.approx(30.0, abs=1e-5)
    assert psnr(predicted, torch.zeros(2, 4, 4, 3)) < 24


def test_mse() -> None:
    assert mse(torch.full((3, 3), 0.5), torch.zeros(3, 3)).item() == pytest.approx(0.25)


def test_gradient_difference_is_zero_for_equal_and_positive_otherwise() -> None:
    assert gradient_difference(image(), image()).item() == 0
    assert gradient_difference(image(), image(1)).item() > 0.05


def test_gradient_difference_ignores_brightness() -> None:
    assert gradient_difference(image() + 0.2, image()).item() == pytest.approx(0, abs=1e-6)


def test_gradient_difference_of_a_ramp() -> None:
    """A ramp of s per pixel across: s at full and 2 s at half resolution, over four terms."""
    ramp = (0.05 * torch.arange(8.0))[None, None, :, None].expand(1, 8, 8, 3)
    expected = (0.05 + 0.10) / 4
    assert gradient_difference(ramp, torch.zeros(1, 8, 8, 3)).item() == pytest.approx(expected, rel=1e-5)
    assert gradient_difference(ramp.transpose(1, 2), torch.zeros(1, 8, 8, 3)).item() == pytest.approx(expected, rel=1e-5)


def test_gradient_difference_is_differentiable() -> None:
    x = image().requires_grad_()
    gradient_difference(x, image(1)).backward()
    assert x.grad is not None
    assert float(x.grad.abs().max()) > 0
