"""The normalised world: what the cameras look at is the origin, at distance 1.5, and the way back is exact."""

from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chronosplat.cameras import Cameras, Similarity, orbit
from chronosplat.captures.normalize import look_at_point, normalizing_similarity
from chronosplat.scenes import quats_to_matrices

number = st.floats(-2, 2, allow_nan=False)


def turned(cameras: Cameras, quat: list[float], scale: float, shift: list[float]) -> tuple[Cameras, Similarity]:
    rotation = quats_to_matrices(torch.tensor(quat, dtype=torch.float64))
    world = Similarity(scale, rotation, torch.tensor(shift, dtype=torch.float64))
    return cameras.to(dtype=torch.float64).transformed(world), world


@settings(derandomize=True, deadline=None, max_examples=25)
@given(
    st.lists(number, min_size=4, max_size=4).filter(lambda q: math.hypot(*q) > 0.1),
    st.floats(0.05, 50),
    st.lists(number, min_size=3, max_size=3),
)
def test_normalisation_undoes_any_similarity(quat: list[float], scale: float, shift: list[float]) -> None:
    rig = orbit([0, 90, 180, 270], 0, 32)
    moved, world = turned(rig, quat, scale, shift)
    up = world.directions(torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))
    back = moved.transformed(normalizing_similarity(moved, up).inverse())
    torch.testing.assert_close(back.viewmats, rig.viewmats.double(), atol=1e-6, rtol=0)


def test_heading_of_the_first_camera_is_azimuth_zero() -> None:
    cameras = orbit([70, 160, 250, 340], 20, 32)
    back = cameras.transformed(normalizing_similarity(cameras, torch.tensor([0.0, 1, 0])).inverse())
    torch.testing.assert_close(back.viewmats, orbit([0, 90, 180, 270], 20, 32).viewmats, atol=3e-5, rtol=0)


def test_look_at_point_of_an_inward_rig() -> None:
    cameras, world = turned(orbit([10, 130, 250, 300], 30, 32), [1, 0.2, -0.4, 0.1], 7.0, [3, -2, 5])
    torch.testing.assert_close(look_at_point(cameras), world.translation, atol=1e-3, rtol=0)


def test_a_single_camera_looks_at_the_origin_ahead_or_at_the_usual_distance() -> None:
    for radius in (1.5, 4.0):
        cameras = orbit([25, 25], 0, 32, radius=radius)
        torch.testing.assert_close(look_at_point(cameras), torch.zeros(3, dtype=torch.float64), atol=1e-6, rtol=0)
    away = cameras.transformed(Similarity(translation=torch.tensor([50.0, 0, 0], dtype=torch.float64)))
    torch.testing.assert_close(look_at_point(away), (away.centers + 1.5 * away.forwards)[0].double(), atol=1e-5, rtol=0)


def test_a_camera_that_looks_straight_down_gives_a_finite_world() -> None:
    cameras = orbit([0.0], 90.0, 32)
    world = normalizing_similarity(cameras, torch.tensor([0.0, 1, 0]))
    assert bool(torch.isfinite(world.matrix()).all())
    identity = world.rotation @ world.rotation.T
    torch.testing.assert_close(identity, torch.eye(3, dtype=torch.float64))
