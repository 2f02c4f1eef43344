"""Laws of augmentation: pure in the seed, shape kept by changes of look, look kept by changes of shape."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chronosplat.assets import GltfModel, MovingMesh, PreparedSurface, Surface, rasterize_mesh
from chronosplat.assets.augment import CHANGES, SPEED, STRETCH, Augmentation, augment, bone_noise, recolour, retexture, speed, stretch
from chronosplat.assets.augment_look import color_matrix
from chronosplat.assets.mesh import vertex_normals
from chronosplat.assets.procedural import procedural_object
from chronosplat.assets.procedural.patterns import KINDS, pattern
from chronosplat.cameras import orbit
from tests.assets.gltf_maker import textured_square, two_joint_strip

TIMES = (0.0, 0.3, 0.9)


def same(a: MovingMesh, b: MovingMesh) -> bool:
    """Whether two meshes have the same vertices, faces, colours and textures."""
    x, y = a.surface, b.surface
    return (
        all(np.array_equal(p, q) for t in TIMES for p, q in zip(a.vertices(t), b.vertices(t), strict=True))
        and all(np.array_equal(getattr(x, n), getattr(y, n)) for n in ("faces", "uvs", "colors"))
        and x.materials == y.materials
        and all(np.array_equal(s.pixels, t.pixels) for s, t in zip(x.textures, y.textures, strict=True))
        and a.duration == b.duration
    )


def corners(mesh: MovingMesh, seconds: float) -> np.ndarray:
    """Positions and normals of the corners of all faces [M, 3, 6]; how vertices are shared does not matter."""
    return np.concatenate(mesh.vertices(seconds), 1)[mesh.surface.faces]


@pytest.fixture
def strip(tmp_path: Path) -> GltfModel:
    """A skinned model of two joints."""
    return GltfModel(two_joint_strip().save(tmp_path))


@pytest.mark.parametrize("name", CHANGES)
def test_equal_seeds_give_equal_meshes_and_the_given_one_stays(name: str, tmp_path: Path) -> None:
    change: Callable[[MovingMesh, int], MovingMesh] = CHANGES[name]
    path = two_joint_strip().save(tmp_path)
    for make in (lambda: GltfModel(path), lambda: procedural_object(3)):
        mesh = make()
        assert same(change(mesh, 5), change(make(), 5))
        assert same(mesh, make())
        if name != "bone_noise" or isinstance(mesh, GltfModel):
            assert not same(change(mesh, 5), change(mesh, 6))


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**31))
def test_any_seed_gives_a_sound_mesh(seed: int) -> None:
    mesh = augment(procedural_object(seed % 20), seed, Augmentation(1, 1, 1, 1, 1))
    surface = mesh.surface
    positions, normals = mesh.vertices(0.4 * mesh.duration)
    assert positions.shape == normals.shape == (len(surface.colors), 3)
    assert positions.dtype == normals.dtype == surface.uvs.dtype == surface.colors.dtype == np.float32
    assert np.isfinite(positions).all()
    assert 0 <= surface.faces.min() <= surface.faces.max() < len(positions)
    assert max(m.texture for m in surface.materials) < len(surface.textures)
    assert max(max(m.uv_sets) for m in surface.materials) < surface.uvs.shape[1] // 2
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-4)
    rgba = rasterize_mesh(PreparedSurface(surface), positions, normals, orbit([30], 10.0, 16), None, 1, 1)
    assert (rgba[..., 3] > 0).any()


def test_without_any_chance_nothing_changes() -> None:
    mesh = procedural_object(1)
    assert augment(mesh, 9, Augmentation(0, 0, 0, 0, 0)) is mesh


def test_each_change_happens_as_often_as_it_should() -> None:
    mesh = procedural_object(1, "blob")
    longer = sum(augment(mesh, seed, Augmentation(0, 0, 0, 0.25, 0)).duration != mesh.duration for seed in range(400))
    assert 70 < longer < 130


@pytest.mark.parametrize("change", [retexture, recolour])
def test_changes_of_look_keep_the_shape(change: Callable[[MovingMesh, int], MovingMesh]) -> None:
    for seed in range(5):
        mesh = procedural_object(seed)
        for t in TIMES:
            assert np.array_equal(corners(change(mesh, seed), t), corners(mesh, t))


@pytest.mark.parametrize("change", [speed, stretch, bone_noise])
def test_changes_of_shape_keep_the_look(strip: GltfModel, change: Callable[[MovingMesh, int], MovingMesh]) -> None:
    assert change(strip, 2).surface is strip.surface


def test_textures_move_with_the_surface() -> None:
    plain = procedural_object(2, "creature")
    mesh = retexture(plain, 4)
    assert len(mesh.surface.textures) >= 1
    assert all(m.texture >= 0 for m in mesh.surface.materials)
    first = plain.surface.uvs.shape[1]
    assert mesh.surface.uvs.shape[1] == first + 2
    size = np.ptp(mesh.vertices(0.0)[0], 0).max()
    positions, uvs, faces = mesh.vertices(0.0)[0], mesh.surface.uvs[:, first:], mesh.surface.faces
    for k in range(3):  # a projection along an axis keeps lengths across it: texture edges are no longer than edges
        edges, texture = positions[faces[:, k]] - positions[faces[:, k - 1]], uvs[faces[:, k]] - uvs[faces[:, k - 1]]
        assert (np.linalg.norm(texture, axis=1) <= 3.0 / size * np.linalg.norm(edges, axis=1) + 1e-5).all()


@pytest.mark.parametrize("mode", ["MASK", "BLEND"])
def test_transparent_materials_keep_their_texture(tmp_path: Path, mode: str) -> None:
    model = GltfModel(textured_square([[(255, 0, 0, 255), (0, 0, 0, 0)]], alphaMode=mode).save(tmp_path))
    changed = retexture(model, 1)
    used = model.surface.face_materials[0]
    assert changed.surface.materials[used] == model.surface.materials[used]
    uv = lambda surface: surface.uvs[surface.faces][..., :2]
    assert np.array_equal(uv(changed.surface), uv(model.surface))


@given(st.floats(-4, 4), st.floats(0, 2), st.floats(0, 2), st.floats(0, 1))
def test_greys_stay_grey(turn: float, saturation: float, brightness: float, grey: float) -> None:
    np.testing.assert_allclose(color_matrix(turn, saturation, brightness) @ np.full(3, grey), brightness * grey, atol=1e-9)


def test_no_turn_is_the_identity_and_turns_add_up() -> None:
    np.testing.assert_allclose(color_matrix(0, 1, 1), np.eye(3), atol=1e-12)
    np.testing.assert_allclose(color_matrix(0.4, 1, 1) @ color_matrix(1.1, 1, 1), color_matrix(1.5, 1, 1), atol=1e-12)
    third = color_matrix(2 * np.pi / 3, 1, 1)
    np.testing.assert_allclose(third @ (1, 0, 0), (0, 1, 0), atol=1e-12)  # red becomes green


def test_recolouring_keeps_alpha_and_data_textures(tmp_path: Path) -> None:
    model = GltfModel(textured_square([[(255, 0, 0, 200), (10, 20, 30, 40)]]).save(tmp_path))
    surface: Surface = recolour(model, 3).surface
    assert np.array_equal(surface.textures[0].pixels[..., 3], model.surface.textures[0].pixels[..., 3])
    assert not np.array_equal(surface.textures[0].pixels, model.surface.textures[0].pixels)
    assert np.array_equal(surface.colors[:, 3], model.surface.colors[:, 3])


@pytest.mark.parametrize("seed", range(6))
def test_speed_is_a_change_of_time(strip: GltfModel, seed: int) -> None:
    fast = speed(strip, seed)
    factor = strip.duration / fast.duration
    assert 1 / SPEED <= factor <= SPEED
    for t in TIMES:
        assert np.array_equal(fast.vertices(t / factor)[0], strip.vertices(t / factor * factor)[0])


@pytest.mark.parametrize("seed", range(4))
def test_stretched_normals_stay_perpendicular(seed: int) -> None:
    mesh = procedural_object(seed, "blob")
    tall = stretch(mesh, seed)
    ratio = np.ptp(tall.vertices(0.2)[0], 0) / np.ptp(mesh.vertices(0.2)[0], 0)
    assert (ratio > 1 / STRETCH - 1e-5).all()
    assert (ratio < STRETCH + 1e-5).all()
    positions, normals = tall.vertices(0.2)
    cosines = (normals * vertex_normals(positions, tall.surface.faces)).sum(1)
    assert np.median(cosines) > 0.9999


def test_bone_noise_keeps_bones_rigid(strip: GltfModel) -> None:
    noisy = bone_noise(strip, 7)
    for t in TIMES:
        was, now = strip.vertices(t)[0], noisy.vertices(t)[0]
        np.testing.assert_allclose(now[:2], was[:2], atol=1e-6)  # the root stays
        assert 1e-4 < np.abs(now[4:] - was[4:]).max() < 0.5
        assert np.linalg.norm(now[5] - now[4]) == pytest.approx(1, abs=1e-5)
        assert np.linalg.norm(now[4] - (0, 1, 0)) == pytest.approx(np.linalg.norm(was[4] - (0, 1, 0)), abs=1e-5)


def test_bone_noise_has_whole_periods(tmp_path: Path) -> None:
    maker = two_joint_strip()
    maker.json["animations"][0]["samplers"][0]["output"] = maker.accessor(np.float32([(0, 0, 0, 1), (0, 0, 0, 1)]))
    noisy = bone_noise(GltfModel(maker.save(tmp_path)), 3)
    np.testing.assert_allclose(noisy.vertices(0.0)[0], noisy.vertices(1.0)[0], atol=1e-5)
    assert np.abs(noisy.vertices(0.0)[0] - noisy.vertices(0.12)[0]).max() > 1e-3


def test_meshes_without_joints_are_returned_as_they_are() -> None:
    mesh = procedural_object(4)
    assert bone_noise(mesh, 1) is mesh


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_patterns_repeat(kind: Callable[..., np.ndarray]) -> None:
    u, v = np.random.default_rng(0).uniform(size=(2, 4000))
    for seed in range(4):
        at = lambda du, dv, seed=seed: kind(u + du, v + dv, np.random.default_rng(seed))
        assert np.ptp(at(0, 0)) > 0
        for shift in ((1, 0), (0, 1), (-1, 2)):
            assert (np.abs(at(*shift) - at(0, 0)) > 1e-6).mean() < 1e-3  # rounding at edges


def test_patterns_are_opaque_and_follow_their_seed() -> None:
    images = [pattern(np.random.default_rng(seed)).pixels for seed in (1, 1, 2)]
    assert images[0].shape == (256, 256, 4)
    assert images[0].dtype == np.uint8
    assert (images[0][..., 3] == 255).all()
    assert np.array_equal(images[0], images[1])
    assert not np.array_equal(images[0], images[2])
