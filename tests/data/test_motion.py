"""The motion filter's measure, and drifting static objects."""

from __future__ import annotations

import numpy as np
import pytest

from chronosplat.data.clips import pose_clip
from chronosplat.data.motion import DRIFT, drifting, motion_measure
from tests.data.test_clips import triangle

FACES = np.array([(0, 1, 2), (3, 4, 5)], np.int32)
CORNERS = np.float32([(0, 0, 0), (1, 0, 0), (0, 1, 0)] * 2)


def slid(first: float, second: float, frames: int, fps: float) -> list[np.ndarray]:
    """Two triangles of equal area that slide with speeds per second."""
    speeds = np.float32([first] * 3 + [second] * 3)[:, None] * np.float32([0, 0, 1])
    return [CORNERS + speeds * np.float32(i / fps) for i in range(frames)]


def test_a_steady_slide_is_measured_exactly() -> None:
    assert motion_measure(slid(0.4, 0.4, 24, 24.0), FACES, 24.0) == pytest.approx(0.2)
    assert motion_measure(slid(0.4, 0.4, 8, 8.0), FACES, 8.0) == pytest.approx(0.2)
    assert motion_measure(slid(0.4, 0.0, 24, 24.0), FACES, 24.0) == pytest.approx(0.1)  # half of the area stands still


def test_area_counts_and_not_the_number_of_vertices() -> None:
    poses = slid(0.4, 0.0, 24, 24.0)
    small = [p * np.float32([[0.1, 0.1, 1]] * 3 + [[1, 1, 1]] * 3) for p in poses]
    assert motion_measure(small, FACES, 24.0) == pytest.approx(0.2 * 0.01 / 1.01, rel=1e-5)


def test_still_and_single_frames_do_not_move() -> None:
    assert motion_measure(slid(0, 0, 24, 24.0), FACES, 24.0) == 0
    assert motion_measure(slid(1, 1, 1, 24.0), FACES, 24.0) == 0


def test_a_clip_shorter_than_half_a_second_is_measured_from_end_to_end() -> None:
    assert motion_measure(slid(1, 1, 3, 24.0), FACES, 24.0) == pytest.approx(2 / 24)


def test_needles_are_measured_too() -> None:
    assert motion_measure([p * np.float32([1, 0, 1]) for p in slid(1, 1, 24, 24.0)], FACES, 24.0) == pytest.approx(0.5)


@pytest.mark.parametrize("seed", range(10))
def test_a_drifting_object_moves_straight_by_a_part_of_its_size(seed: int) -> None:
    mesh = drifting(triangle((5, 5, 5)), 1.0, np.random.default_rng(seed))
    poses, _ = pose_clip(mesh, np.array([0.0, 0.5, 1.0]))
    whole, half = poses[2][0] - poses[0][0], poses[1][0] - poses[0][0]
    np.testing.assert_allclose(whole, np.broadcast_to(whole[0], whole.shape), atol=1e-5)
    np.testing.assert_allclose(half * 2, whole, atol=1e-5)
    size = float((poses[0][0].max(0) - poses[0][0].min(0)).max())
    assert DRIFT[0] - 1e-5 <= float(np.linalg.norm(whole[0])) / size <= DRIFT[1] + 1e-5
