"""Clips: the normaliser, L4GM's rigs, and lights."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chronosplat.assets import Material, Surface
from chronosplat.assets.mesh import Floats
from chronosplat.assets.procedural import procedural_object
from chronosplat.cameras import RADIUS
from chronosplat.data.clips import fixed_ring, pose_clip, random_views, render_clip, render_poses, training_views
from chronosplat.shapes import InputError

TRIANGLE = Surface(
    faces=np.array([(0, 1, 2)], np.int32),
    face_materials=np.zeros(1, np.int32),
    uvs=np.zeros((3, 4), np.float32),
    colors=np.ones((3, 4), np.float32),
    materials=(Material(unlit=True, two_sided=True),),
)


@dataclass
class Sliding:
    """A triangle that slides: ``corners`` at time 0, moved by ``velocity`` per second."""

    corners: Floats
    velocity: Floats
    name: str = "sliding"
    surface: Surface = TRIANGLE
    duration: float = 1.0
    asked: list[float] = field(default_factory=list)

    def vertices(self, seconds: float) -> tuple[Floats, Floats]:
        """Positions and normals."""
        self.asked.append(seconds)
        positions = (self.corners + self.velocity * seconds).astype(np.float32)
        return positions, np.tile(np.float32([0, 0, 1]), (3, 1))


def triangle(velocity: tuple[float, float, float]) -> Sliding:
    """A triangle away from the origin."""
    return Sliding(np.float32([(10, 0, 0), (12, 0, 0), (10, 1, 3)]), np.float32(velocity))


# the normaliser


def bounds(mesh: Sliding, seconds: np.ndarray) -> tuple[Floats, Floats]:
    """The box around the placed clip."""
    poses, placement = pose_clip(mesh, seconds)
    placed = np.concatenate([placement.apply(p) for p, _ in poses])
    return placed.min(0), placed.max(0)


vectors = st.tuples(*[st.floats(-50, 50, width=32)] * 3)


@settings(max_examples=60, deadline=None)
@given(vectors, vectors, st.integers(1, 5))
def test_union_of_all_frames_fills_the_unit_cube(offset: tuple[float, ...], velocity: tuple[float, ...], frames: int) -> None:
    mesh = triangle(velocity)
    mesh.corners = mesh.corners + np.float32(offset)
    low, high = bounds(mesh, np.linspace(0, 1, frames))
    assert (high - low).max() == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(low + high, 0, atol=1e-4)
    assert low.min() >= -0.5001
    assert high.max() <= 0.5001


def test_placement_by_hand() -> None:
    mesh = triangle((4, 0, 0))
    poses, placement = pose_clip(mesh, np.array([0.0, 0.5, 1.0]))
    assert mesh.asked == [0.0, 0.5, 1.0]
    assert placement.center.tolist() == [13, 0.5, 1.5]
    assert placement.scale == pytest.approx(1 / 6)
    np.testing.assert_allclose(placement.apply(poses[0][0])[0], (-0.5, -0.5 / 6, -0.25), atol=1e-7)


def test_one_placement_for_the_whole_clip() -> None:
    poses, placement = pose_clip(triangle((4, 0, 0)), np.array([0.0, 1.0]))
    moved = placement.apply(poses[1][0]) - placement.apply(poses[0][0])
    np.testing.assert_allclose(moved, np.tile((4 / 6, 0, 0), (3, 1)), atol=1e-6)


def test_a_mesh_without_extent_is_refused() -> None:
    with pytest.raises(InputError, match="sliding: the mesh has no extent"):
        pose_clip(Sliding(np.float32([(1, 2, 3)] * 3), np.zeros(3, np.float32)), np.array([0.0, 1.0]))


def test_a_flat_or_travelling_point_has_extent() -> None:
    low, high = bounds(Sliding(np.float32([(1, 2, 3)] * 3), np.float32([0, 2, 0])), np.array([0.0, 1.0]))
    np.testing.assert_allclose(high - low, (0, 1, 0), atol=1e-6)


# rigs


def test_fixed_ring_is_l4gms() -> None:
    ring = fixed_ring(32)
    assert len(ring) == 16
    assert (ring.width, ring.height) == (32, 32)
    azimuths = torch.deg2rad(22.5 * torch.arange(16, dtype=torch.float64))
    expected = 1.5 * torch.stack([azimuths.sin(), torch.zeros(16, dtype=torch.float64), azimuths.cos()], 1)
    torch.testing.assert_close(ring.centers.double(), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(ring.forwards, -ring.centers / 1.5, atol=1e-6, rtol=0)
    torch.testing.assert_close(ring.ups, torch.tensor([0.0, 1.0, 0.0]).expand(16, 3), atol=1e-6, rtol=0)
    assert ring.Ks[0, 0, 0].item() == pytest.approx(16 / np.tan(np.deg2rad(49.1) / 2), rel=1e-5)


def elevations(centers: torch.Tensor) -> torch.Tensor:
    """Degrees above the horizon."""
    return torch.rad2deg(torch.asin((centers[:, 1] / RADIUS).clamp(-1, 1)))


@pytest.mark.parametrize("limits", [(-5.0, 60.0), (10.0, 20.0)])
def test_random_views_stay_in_their_elevations(limits: tuple[float, float]) -> None:
    views = random_views(200, 16, np.random.default_rng(0), limits)
    heights = elevations(views.centers)
    assert len(views) == 200
    assert limits[0] - 0.01 <= heights.min() < limits[0] + 0.1 * (limits[1] - limits[0])
    assert limits[1] + 0.01 >= heights.max() > limits[1] - 0.1 * (limits[1] - limits[0])
    torch.testing.assert_close(views.centers.norm(dim=1), torch.full((200,), RADIUS), atol=1e-5, rtol=0)
    for side in (views.centers[:, 0], views.centers[:, 2]):
        assert 0.35 < (side > 0).float().mean() < 0.65


@pytest.mark.parametrize("seed", range(8))
def test_training_views_begin_with_four_at_right_angles(seed: int) -> None:
    rig = training_views(16, np.random.default_rng(seed), extra=3)
    assert len(rig) == 7
    heights = elevations(rig.centers[:4])
    assert float(heights.max() - heights.min()) < 1e-3
    assert -5.01 <= float(heights[0]) <= 25.01
    azimuths = torch.rad2deg(torch.atan2(rig.centers[:4, 0], rig.centers[:4, 2]))
    torch.testing.assert_close((azimuths - azimuths[0]) % 360, torch.tensor([0.0, 90.0, 180.0, 270.0]), atol=1e-3, rtol=0)


def test_rigs_follow_their_generator() -> None:
    one, two, other = (training_views(16, np.random.default_rng(s)).viewmats for s in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


# pictures


def test_render_clip_axes_and_content() -> None:
    mesh = procedural_object(2, "vehicle")
    seconds, cameras = np.array([0.0, 0.2, 0.45]), fixed_ring(16)[[0, 4]]
    rgba = render_clip(mesh, seconds, cameras, samples=2)[0]
    assert rgba.shape == (3, 2, 16, 16, 4)
    assert rgba.dtype == np.uint8
    assert (rgba[..., 3].max((2, 3)) == 255).all()
    alone = render_clip(mesh, seconds, cameras[1], samples=2)[0]
    assert np.array_equal(rgba[:, 1:], alone)  # cameras do not see each other
    assert (rgba[0] != rgba[1]).any()


def test_geometry_of_a_sliding_triangle() -> None:
    mesh, cameras = triangle((0, 0, 4)), fixed_ring(16)[[8]]  # its front is seen from below and behind alike: two-sided
    seconds = np.array([0.0, 0.25, 0.5])
    rgba, geometry = render_clip(mesh, seconds, cameras)
    assert geometry.shape == (3, 1, 16, 16, 4)
    assert geometry.dtype == np.float16
    covered = rgba[..., 3] > 0
    assert covered.any()
    assert not geometry[~covered].any()
    per_frame = 1.0 / 5  # one unit a frame; the union is five units long
    np.testing.assert_allclose(geometry[covered][:, 1:], np.tile((0, 0, per_frame), (covered.sum(), 1)), atol=1e-3)
    assert 0.9 < geometry[covered][:, 0].min() <= geometry[covered][:, 0].max() < 2.1


def test_images_are_the_same_without_geometry_in_a_third_of_the_memory() -> None:
    mesh, cameras, seconds = procedural_object(2, "vehicle"), fixed_ring(64), np.linspace(0, 1, 8)
    poses, placement = pose_clip(mesh, seconds)
    found, peaks = [], []
    for has_geometry in (True, False):
        tracemalloc.start()
        found.append(render_poses(mesh.surface, poses, placement, lambda frame: cameras, has_geometry=has_geometry))
        peaks.append(tracemalloc.get_traced_memory()[1] / found[-1][0].nbytes)
        tracemalloc.stop()
    (with_it, geometry), (without, nothing) = found
    assert np.array_equal(with_it, without)
    assert geometry is not None
    assert nothing is None
    assert peaks[1] < 1.5 < 3 < peaks[0]  # of the images' bytes


def test_object_stays_inside_the_picture() -> None:
    for seed in range(4):
        rgba = render_clip(procedural_object(seed), np.linspace(0, 1, 3), fixed_ring(24)[[0, 2, 4]])[0]
        border = rgba[..., 3].copy()
        border[..., 1:-1, 1:-1] = 0
        assert not border.any()  # a cube of size one at distance 1.5 leaves a margin when its corner does not stick out
