"""Rays pass through their pixel centres; Plücker coordinates identify lines."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from chronosplat.cameras import CANONICAL, nearest_points, orbit, pixel_rays, plucker_lgm
from tests.golden.kit import read_golden
from tests.scene_kit import camera_rays, law, project, random_cameras, seeds, vectors


def unit(x: Tensor) -> Tensor:
    """Vectors [..., 3] at length one."""
    return x / x.norm(dim=-1, keepdim=True)


def lines() -> st.SearchStrategy[tuple[Tensor, Tensor]]:
    """Origins and unit directions."""
    return st.tuples(vectors(3), vectors(3).filter(lambda d: float(d.norm()) > 0.1).map(unit))


@law
@given(seeds(), st.floats(0.1, 10))
def test_points_on_rays_project_to_their_pixel_centres(seed: int, distance: float) -> None:
    cameras = random_cameras(seed=seed)
    origins, directions = camera_rays(cameras)
    assert origins.shape == directions.shape == (3, 6, 8, 3)
    pixels, depths = project(cameras, (origins + distance * directions).flatten(1, 2))
    u, v = torch.meshgrid(torch.arange(8) + 0.5, torch.arange(6) + 0.5, indexing="xy")
    centres = torch.stack([u, v], -1).double().view(1, 48, 2).expand(3, 48, 2)
    torch.testing.assert_close(pixels, centres, rtol=0, atol=1e-9)
    assert bool((depths > 0).all())


@law
@given(seeds())
def test_rays_start_at_the_camera_with_unit_directions(seed: int) -> None:
    cameras = random_cameras(seed=seed)
    origins, directions = camera_rays(cameras)
    torch.testing.assert_close(origins, cameras.centers[:, None, None].expand_as(origins))
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(3, 6, 8, dtype=torch.float64), rtol=0, atol=1e-13)


@law
@given(seeds(), st.sampled_from([1, 2, 4]))
def test_strided_rays_are_those_of_the_smaller_image(seed: int, stride: int) -> None:
    cameras = random_cameras(seed=seed, width=16, height=8)
    coarse = pixel_rays(cameras.viewmats, cameras.Ks, 16, 8, stride)
    small = camera_rays(cameras.resized(16 // stride, 8 // stride))
    for found, expected in zip(coarse, small, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_batch_axes_pass_through() -> None:
    cameras = random_cameras(frames=6)
    batched = pixel_rays(cameras.viewmats.view(2, 3, 4, 4), cameras.Ks.view(2, 3, 3, 3), 8, 6)
    for found, expected in zip(batched, camera_rays(cameras), strict=True):
        assert torch.equal(found, expected.view(2, 3, 6, 8, 3))


@law
@given(lines(), st.floats(-5, 5))
def test_nearest_point_is_on_the_line_and_perpendicular_to_it(line: tuple[Tensor, Tensor], along: float) -> None:
    origin, direction = line
    nearest = nearest_points(origin, direction)
    torch.testing.assert_close((nearest * direction).sum(), torch.zeros((), dtype=torch.float64), rtol=0, atol=1e-13)
    torch.testing.assert_close(torch.linalg.cross(nearest - origin, direction), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-13)
    assert float(nearest.norm()) <= float((origin + along * direction).norm()) + 1e-12


@law
@given(lines(), st.floats(-5, 5))
def test_line_coordinates_do_not_depend_on_the_origin_along_the_ray(line: tuple[Tensor, Tensor], along: float) -> None:
    origin, direction = line
    for function in (plucker_lgm, nearest_points):
        torch.testing.assert_close(function(origin + along * direction, direction), function(origin, direction), rtol=0, atol=1e-12)


@law
@given(lines())
def test_moment_and_nearest_point_agree(line: tuple[Tensor, Tensor]) -> None:
    origin, direction = line
    plucker, nearest = plucker_lgm(origin, direction), nearest_points(origin, direction)
    assert torch.equal(plucker[3:], direction)
    torch.testing.assert_close(plucker[:3], torch.linalg.cross(nearest, direction), rtol=0, atol=1e-12)
    torch.testing.assert_close(nearest, torch.linalg.cross(direction, plucker[:3]), rtol=0, atol=1e-12)


def test_one_ray() -> None:
    origin, direction = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.0, 0.0, -1.0])
    assert plucker_lgm(origin, direction).tolist() == [-2, 1, 0, 0, 0, -1]
    assert nearest_points(origin, direction).tolist() == [1, 2, 0]


def test_default_orbit_gives_the_released_l4gm_rays() -> None:
    expected = read_golden("l4gm_tiny").tensors["input.rays_plucker"]
    rays = plucker_lgm(*camera_rays(orbit(CANONICAL, size=expected.shape[-1])))
    torch.testing.assert_close(rays.movedim(-1, 1), expected, rtol=0, atol=1e-6)


def test_a_negative_elevation_gives_the_released_l4gm_rays_at_the_positive_one() -> None:
    golden = read_golden("l4gm_two_per_pixel")
    expected = golden.tensors["input.rays_plucker"]
    rays = plucker_lgm(*camera_rays(orbit(CANONICAL, -float(golden.metadata["elevation"]), size=expected.shape[-1])))
    torch.testing.assert_close(rays.movedim(-1, 1), expected, rtol=0, atol=1e-6)
