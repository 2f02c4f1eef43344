"""Flicker: frame-to-frame changes that the ground truth does not have, per camera."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from chronosplat.cameras import orbit
from chronosplat.metrics import flicker
from tests.scene_kit import law, seeds

SIZE = 6
AZIMUTHS = [0.0, 0.0, 0.0, 0.0, 90.0, 90.0, 90.0, 90.0]
TIMES = torch.tensor([0.0, 0.5, 1.0, 1.5] * 2, dtype=torch.float64)
CAMERAS = orbit(AZIMUTHS, 0.0, SIZE)


def video(seed: int, low: float = 0.3, high: float = 0.7) -> Tensor:
    return low + (high - low) * torch.rand(8, SIZE, SIZE, 3, generator=torch.Generator().manual_seed(seed))


def test_identical_videos_do_not_flicker() -> None:
    assert flicker(video(0), video(0), CAMERAS, TIMES) == 0


def test_constant_error_is_no_flicker() -> None:
    @law
    @given(seeds(), seeds(), st.floats(0.0, 0.25))
    def check(seed: int, other: int, size: float) -> None:
        wrong = size * torch.rand(SIZE, SIZE, 3, generator=torch.Generator().manual_seed(other))
        assert flicker(video(seed) + wrong, video(seed), CAMERAS, TIMES) == pytest.approx(0, abs=1e-6)

    check()


def test_constant_error_per_camera_is_no_flicker() -> None:
    wrong = torch.tensor(AZIMUTHS)[:, None, None, None] / 900
    assert flicker(video(1) + wrong, video(1), CAMERAS, TIMES) == pytest.approx(0, abs=1e-6)


def test_flicker_of_one_gray_level() -> None:
    gray = torch.full((8, SIZE, SIZE, 3), 0.5)
    swing = torch.tensor([0.0, 1.0] * 4)[:, None, None, None] / 255
    assert flicker(gray + swing, gray, CAMERAS, TIMES) == pytest.approx(1 / 255, rel=1e-5)
    assert flicker(gray, gray + swing, CAMERAS, TIMES) == pytest.approx(1 / 255, rel=1e-5)


def test_a_frozen_video_of_a_moving_object_scores_its_motion() -> None:
    ramp = (torch.arange(4) / 10).repeat(2)[:, None, None, None].expand(8, SIZE, SIZE, 3)
    assert flicker(torch.full_like(ramp, 0.3), ramp, CAMERAS, TIMES) == pytest.approx(0.1, rel=1e-5)


def test_frame_order_does_not_matter() -> None:
    expected = flicker(video(2), video(3), CAMERAS, TIMES)
    assert expected > 0.05

    @law
    @given(st.permutations(range(8)))
    def check(order: list[int]) -> None:
        assert flicker(video(2)[order], video(3)[order], CAMERAS[order], TIMES[order]) == pytest.approx(expected, rel=1e-9)

    check()


def test_mean_over_consecutive_frames_of_a_camera() -> None:
    error = (video(4) - video(5)).double()
    pairs = [(0, 1), (1, 2), (2, 3), (4, 5), (5, 6), (6, 7)]
    expected = sum(float((error[b] - error[a]).abs().mean()) for a, b in pairs) / 6
    assert flicker(video(4), video(5), CAMERAS, TIMES) == pytest.approx(expected, rel=1e-6)


def test_frames_are_clipped_first() -> None:
    wild = video(6, -1.0, 2.0)
    assert flicker(wild, video(7), CAMERAS, TIMES) == pytest.approx(flicker(wild.clamp(0, 1), video(7), CAMERAS, TIMES), rel=1e-12)


def test_cameras_with_one_frame_do_not_count() -> None:
    walk = orbit([45.0 * i for i in range(8)], 0.0, SIZE)
    assert math.isnan(flicker(video(8), video(9), walk, TIMES))
    some = [0, 1, 4]  # the second camera has one frame only
    expected = flicker(video(8)[:2], video(9)[:2], CAMERAS[:2], TIMES[:2])
    assert flicker(video(8)[some], video(9)[some], CAMERAS[some], TIMES[some]) == pytest.approx(expected)
