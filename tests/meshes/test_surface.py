"""Surfaces against shapes that are known, and laws of the steps."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import assume, given

from chronosplat.cameras import Similarity, orbit
from chronosplat.meshes import Mesh, MeshOptions, moving_surface, surface
from chronosplat.meshes.fusion import entry_depths
from chronosplat.meshes.simplify import largest_parts, separated, simplified
from chronosplat.scenes import Gaussians3D, Gaussians4D, quats_to_matrices
from chronosplat.shapes import InputError, UnavailableError
from tests.meshes.sphere import CENTER, RADIUS, sigma, sphere
from tests.scene_kit import law, seeds, similarities

pytest.importorskip("skimage", reason="scikit-image is not installed (extra mesh)")
pytest.importorskip("fast_simplification", reason="fast-simplification is not installed (extra mesh)")

COARSE = MeshOptions(resolution=48, faces=0)
TETRAHEDRON = Mesh(
    np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32),
    np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]),
    np.zeros((4, 3), np.float32),
)


@pytest.fixture(scope="module")
def ball() -> Mesh:
    return surface(sphere(), COARSE)


def radii(mesh: Mesh, center: tuple[float, float, float] = CENTER) -> np.ndarray:
    return np.linalg.norm(mesh.vertices - np.array(center), axis=1)


def voxel(options: MeshOptions = COARSE) -> float:
    """The side of a voxel of the sphere, about."""
    return 2 * 1.25 * RADIUS / options.resolution


def test_a_sphere_of_gaussians_has_the_spheres_surface(ball: Mesh) -> None:
    """The surface lies within a voxel, or within the size of the splats, whichever is larger."""
    near = max(voxel(), sigma(2000))
    assert np.abs(radii(ball) - RADIUS).max() < near
    assert ball.volume() == pytest.approx(4 / 3 * math.pi * RADIUS**3, rel=3 * near / RADIUS)
    assert ball.areas().sum() == pytest.approx(4 * math.pi * RADIUS**2, rel=0.1)


def test_it_is_neither_too_large_nor_too_small(ball: Mesh) -> None:
    """Oblique splats are as deep as where the ray meets them, not as their centres, which hide those behind."""
    assert abs(radii(ball).mean() - RADIUS) < 0.45 * voxel()


@law
@given(seeds())
def test_rays_enter_a_flat_gaussian_where_they_meet_its_plane(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    camera = orbit([float(360 * torch.rand(1, generator=random))], [30.0], size=64)
    quats = torch.randn(1, 4, generator=random)
    disc = Gaussians3D(0.3 * torch.rand(1, 3, generator=random), quats, torch.tensor([[0.1, 0.1, 1e-4]]), torch.ones(1), torch.ones(1, 3))
    rotation, move = camera.viewmats[0, :3, :3], camera.viewmats[0, :3, 3]
    center, normal = rotation @ disc.means[0] + move, rotation @ quats_to_matrices(quats)[0, :, 2]
    ray = center / center[2] + torch.tensor([1e-2, -2e-2, 0])
    assume(abs(float(torch.cosine_similarity(ray, normal, dim=0))) > 0.2)
    z, planes = entry_depths(disc, camera)
    met = float(center @ normal / (ray @ normal))
    assert float(z) == pytest.approx(float(center[2]), abs=1e-6)
    assert float(planes[0] @ torch.tensor([1.0, ray[0], ray[1]])) == pytest.approx(met, abs=2e-3 + 0.05 * abs(met - float(z)))


def test_a_finer_grid_and_smaller_splats_come_nearer(ball: Mesh) -> None:
    fine = surface(sphere(8000), MeshOptions(resolution=96, faces=0))
    error = lambda mesh: abs(radii(mesh).mean() - RADIUS)
    assert error(fine) < 0.7 * error(ball)


def test_it_is_closed_and_faces_outwards(ball: Mesh) -> None:
    assert ball.is_watertight()
    assert ball.volume() > 0
    outwards = ball.vertices[ball.faces].mean(1) - np.array(CENTER)
    corners = ball.vertices[ball.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (np.einsum("qi,qi->q", outwards, normals) >= 0).mean() > 0.999


def test_colours_are_those_of_the_splats(ball: Mesh) -> None:
    expected = ((ball.vertices - np.array(CENTER)) / radii(ball)[:, None] + 1) / 2
    assert np.abs(ball.colors - expected).mean() < 0.03


def test_the_surface_is_in_the_gaussians_own_coordinates() -> None:
    scene = sphere(500)
    moved = scene.with_world(Similarity(3.0))
    np.testing.assert_array_equal(surface(scene, MeshOptions(24)).vertices, surface(moved, MeshOptions(24)).vertices)


def test_floaters_are_left_out() -> None:
    body, speck = sphere(1000), sphere(30, (0.9, 0.9, 0.9), 0.02)
    both = Gaussians3D(**{name: torch.cat([value, getattr(speck, name)]) for name, value in body.tensors().items()})
    assert radii(surface(both, MeshOptions(48))).max() < 1.2 * RADIUS


def test_two_bodies_both_stay() -> None:
    one, other = sphere(1000), sphere(1000, (1.4, 0.2, -0.3), 0.4)
    both = Gaussians3D(**{name: torch.cat([value, getattr(other, name)]) for name, value in one.tensors().items()})
    mesh = surface(both, COARSE)
    assert mesh.vertices[:, 0].min() < -0.3
    assert mesh.vertices[:, 0].max() > 1.7


def test_fewer_triangles_keep_the_shape(ball: Mesh) -> None:
    fewer = simplified(ball, 1000)
    assert 900 <= len(fewer.faces) <= 1100
    assert fewer.is_watertight()
    assert fewer.volume() == pytest.approx(ball.volume(), rel=0.01)
    assert simplified(ball, 0) is ball
    assert simplified(ball, 10**6) is ball


@pytest.mark.parametrize("turned", [False, True])
def test_sheets_that_share_an_edge_are_separated(turned: bool) -> None:
    """Two tetrahedra on both sides of an edge, and one around the other's edge."""
    tips = np.array([[0, -1, 0], [0.1, -0.4, -1]] if not turned else [[0, 2, 0], [0.5, 3, 0.5]], np.float32)
    vertices = np.concatenate([TETRAHEDRON.vertices, tips])
    other = Mesh(vertices, np.array([[0, 5, 1], [0, 1, 4], [0, 4, 5], [1, 5, 4]]), np.zeros((6, 3), np.float32))
    other = other if other.volume() > 0 else Mesh(vertices, other.faces[:, ::-1], other.colors)
    both = Mesh(vertices, np.concatenate([TETRAHEDRON.faces, other.faces]), other.colors)
    parted = separated(both)
    assert not both.is_watertight()
    assert parted.is_watertight()
    assert len(parted.faces) == len(both.faces) + 2
    assert len(np.unique(parted.vertices, axis=0)) == len(parted.vertices)  # for readers that merge equal vertices
    assert parted.volume() == pytest.approx(TETRAHEDRON.volume() + other.volume(), rel=0.02)


def test_triangles_back_to_back_are_dropped() -> None:
    fin = np.array([[0, 1, 4], [1, 0, 4]])
    mesh = Mesh(
        np.concatenate([TETRAHEDRON.vertices, [[0.5, -1, 0]]]).astype(np.float32),
        np.concatenate([TETRAHEDRON.faces, fin]),
        np.zeros((5, 3)),
    )
    assert separated(mesh).faces.tolist() == TETRAHEDRON.faces.tolist()


def test_a_mesh_with_a_hole_stays_as_it_is() -> None:
    holed = TETRAHEDRON.compacted(TETRAHEDRON.faces[1:])
    assert separated(holed) is holed


def test_a_known_mesh() -> None:
    assert TETRAHEDRON.is_watertight()
    assert TETRAHEDRON.volume() == pytest.approx(1 / 6)
    assert TETRAHEDRON.areas().tolist() == pytest.approx([0.5, 0.5, 0.5, math.sqrt(3) / 2])
    inwards = Mesh(TETRAHEDRON.vertices, TETRAHEDRON.faces[:, ::-1], TETRAHEDRON.colors)
    assert inwards.volume() == pytest.approx(-1 / 6)
    assert inwards.is_watertight()
    assert not TETRAHEDRON.compacted(TETRAHEDRON.faces[1:]).is_watertight()
    twice = Mesh(TETRAHEDRON.vertices, np.concatenate([TETRAHEDRON.faces] * 2), TETRAHEDRON.colors)
    assert not twice.is_watertight()
    assert not Mesh(TETRAHEDRON.vertices, TETRAHEDRON.faces[:0], TETRAHEDRON.colors).is_watertight()


@law
@given(similarities())
def test_volume_scales_with_the_world(world: Similarity) -> None:
    assert TETRAHEDRON.moved(world).volume() == pytest.approx(TETRAHEDRON.volume() * world.scale**3, rel=1e-3)


def test_small_parts_go_and_large_ones_stay() -> None:
    def merged(size: float) -> Mesh:
        vertices = np.concatenate([TETRAHEDRON.vertices, TETRAHEDRON.vertices * size + 5])
        return Mesh(vertices, np.concatenate([TETRAHEDRON.faces, TETRAHEDRON.faces + 4]), np.zeros_like(vertices))

    assert len(largest_parts(merged(0.1)).faces) == 4
    assert len(largest_parts(merged(0.1)).vertices) == 4
    assert len(largest_parts(merged(0.9)).faces) == 8


@pytest.mark.parametrize(
    ("scene", "options", "message"),
    [
        (sphere(50, opacity=0.05), MeshOptions(), "no Gaussian has an opacity of 0.1"),
        (sphere(20, opacity=0.2), MeshOptions(32), "too faint or too sparse"),
        (sphere(50), MeshOptions(resolution=5000), "resolution: expected 16 to 512 voxels, got 5000"),
        (sphere(50), MeshOptions(faces=3), "faces: expected at least 100, or 0 for all, got 3"),
    ],
)
def test_scenes_without_a_surface_and_impossible_options_are_refused(scene: Gaussians3D, options: MeshOptions, message: str) -> None:
    with pytest.raises(InputError, match=message):
        surface(scene, options)


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage.measure", None)
    with pytest.raises(UnavailableError, match=r"skimage is not installed; run: pip install 'chronosplat\[mesh\]'"):
        surface(sphere(50))


def test_scenes_without_tracks_have_no_moving_surface() -> None:
    still = sphere(50)
    zeros = torch.zeros(50)
    moving = Gaussians4D(**still.tensors(), velocities=torch.zeros(50, 3), time_centers=zeros, time_sigmas=zeros + 1)
    assert moving_surface(moving, [0.0, 1.0]) is None
