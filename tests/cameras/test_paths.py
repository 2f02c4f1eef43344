"""Camera paths around the object at the origin."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chronosplat.cameras import CANONICAL, FOVY, RADIUS, orbit, orbit_pose, space_time_path, turntable
from tests.scene_kit import law, project


def angles(limit: float = 360.0) -> st.SearchStrategy[float]:
    """Degrees between minus and plus a limit."""
    return st.floats(-limit, limit, allow_nan=False)


@pytest.mark.parametrize(
    ("azimuth", "elevation", "center"),
    [
        (0, 0, (0, 0, 1.5)),
        (90, 0, (1.5, 0, 0)),
        (180, 0, (0, 0, -1.5)),
        (270, 0, (-1.5, 0, 0)),
        (0, 30, (0, 0.75, 1.5 * math.sqrt(0.75))),
        (90, -30, (1.5 * math.sqrt(0.75), -0.75, 0)),
    ],
)
def test_l4gm_camera_positions(azimuth: float, elevation: float, center: tuple[float, float, float]) -> None:
    cameras = orbit([azimuth], elevation)
    torch.testing.assert_close(cameras.centers, torch.tensor([center], dtype=torch.float32), rtol=0, atol=1e-6)


def test_the_papers_numbers() -> None:
    assert (RADIUS, FOVY, CANONICAL) == (1.5, 49.1, (0.0, 90.0, 180.0, 270.0))
    cameras = orbit(CANONICAL, size=64)
    assert (cameras.width, cameras.height, len(cameras)) == (64, 64, 4)
    half_height = RADIUS * math.tan(math.radians(FOVY) / 2)
    pixels, _ = project(cameras[0], torch.tensor([[half_height, half_height, 0.0]]))
    torch.testing.assert_close(pixels, torch.tensor([[[64.0, 0.0]]]), rtol=0, atol=1e-4)


@law
@given(angles(), angles(89), st.floats(0.5, 4))
def test_every_pose_is_rigid_upright_and_looks_at_the_origin(azimuth: float, elevation: float, radius: float) -> None:
    pose = orbit_pose(azimuth, elevation, radius)
    rotation = pose[:3, :3]
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-13)
    torch.testing.assert_close(torch.linalg.det(rotation).item(), 1.0, rtol=0, atol=1e-13)
    torch.testing.assert_close(pose[:3, 3], radius * rotation[:, 2], rtol=0, atol=1e-13)
    assert rotation[1, 0] == 0  # the horizon is level
    assert rotation[1, 1] > 0  # and +Y is up
    assert pose[3].tolist() == [0, 0, 0, 1]


@law
@given(angles(), angles(80), angles(180))
def test_azimuth_turns_the_whole_pose_about_y(azimuth: float, elevation: float, more: float) -> None:
    c, s = math.cos(math.radians(more)), math.sin(math.radians(more))
    turn = torch.tensor([[c, 0, s, 0], [0, 1, 0, 0], [-s, 0, c, 0], [0, 0, 0, 1]], dtype=torch.float64)
    torch.testing.assert_close(orbit_pose(azimuth + more, elevation), turn @ orbit_pose(azimuth, elevation), rtol=0, atol=1e-12)


def test_straight_above_is_no_special_case() -> None:
    pose = orbit_pose(0, 90)
    torch.testing.assert_close(pose[:3, 3], torch.tensor([0, 1.5, 0], dtype=torch.float64), rtol=0, atol=1e-15)
    torch.testing.assert_close(torch.linalg.det(pose).item(), 1.0, rtol=0, atol=1e-15)


def test_elevations_may_differ_per_camera() -> None:
    cameras = orbit([10, 20], [5, -5], size=16, radius=2.0)
    for i, (azimuth, elevation) in enumerate([(10, 5), (20, -5)]):
        assert torch.equal(cameras[i].viewmats, orbit([azimuth], elevation, 16, 2.0).viewmats)
    with pytest.raises(ValueError, match="argument 2 is"):
        orbit([10, 20], [5])


@law
@given(st.integers(1, 12), st.integers(-2, 2).filter(bool))
def test_turntable_turns_evenly_from_the_front(frames: int, turns: int) -> None:
    cameras = turntable(frames, turns, elevation=20, size=8)
    azimuths = torch.atan2(cameras.centers[:, 0], cameras.centers[:, 2])
    expected = torch.arange(frames) * (2 * math.pi * turns / frames)
    torch.testing.assert_close(torch.cos(azimuths - expected), torch.ones(frames), rtol=0, atol=1e-5)
    torch.testing.assert_close(cameras.centers[:, 1], torch.full((frames,), RADIUS * math.sin(math.radians(20))), rtol=0, atol=1e-5)
    pixels, depths = project(cameras, torch.zeros(1, 3))
    torch.testing.assert_close(pixels, torch.full((frames, 1, 2), 4.0), rtol=0, atol=1e-4)
    torch.testing.assert_close(depths, torch.full((frames, 1), RADIUS), rtol=0, atol=1e-5)


@law
@given(st.integers(1, 5), st.integers(1, 3), st.floats(-5, 5), st.floats(0.1, 5))
def test_time_runs_forwards_and_backwards_along_the_path(half: int, loops: int, first: float, length: float) -> None:
    frames = 2 * half * loops
    cameras, times = space_time_path(frames, (first, first + length), loops, size=8)
    assert torch.equal(cameras.viewmats, turntable(frames, size=8).viewmats)
    rising = [first + length * i / half for i in range(half)]
    falling = [first + length * (1 - i / half) for i in range(half)]
    expected = torch.tensor((rising + falling) * loops, dtype=torch.float64)
    torch.testing.assert_close(times, expected, rtol=0, atol=1e-9)
