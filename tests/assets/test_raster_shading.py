"""The mesh rasteriser: materials, textures, light, threads and geometry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chronosplat.assets.lights import Lights
from chronosplat.assets.mesh import Material, Surface, to_linear, unit, vertex_normals
from chronosplat.assets.model import GltfModel
from chronosplat.assets.prepared import PreparedSurface
from chronosplat.assets.procedural import procedural_object
from chronosplat.assets.raster import rasterize_geometry, rasterize_mesh
from chronosplat.cameras import orbit
from chronosplat.shapes import InputError
from tests.assets.gltf_maker import textured_square
from tests.assets.raster_kit import (
    DISTANCE,
    FACES,
    GREEN,
    RED,
    SIZE,
    UNLIT,
    at_pixels,
    box,
    draw,
    facing_camera,
    linear_texture,
    lit,
    ramp_texture,
    sun,
    two,
)


def test_blend_shows_the_faces_behind() -> None:
    positions, faces = two(at_pixels(box(2, 2, 14, 14), -1.0), at_pixels(box(4, 4, 8, 8), 1.0))
    half = Material(unlit=True, alpha_mode=2, base=(1, 1, 1, 4 / 9))
    image = draw(positions, faces, (UNLIT, half), np.repeat([RED, GREEN], 4, 0), [0, 0, 1, 1], samples=3)
    assert (image[2:14, 2:14, 3] == 255).all()
    np.testing.assert_allclose(to_linear(image[4:8, 4:8, :2] / 255.0), np.broadcast_to((5 / 9, 4 / 9), (4, 4, 2)), atol=0.005)


def test_vertex_colours_are_linear_light() -> None:
    image = draw(at_pixels(box(4, 4, 8, 8)), colors=(0.5, 0.0, 1.0, 1.0))
    assert image[5, 5].tolist() == [188, 0, 255, 255]


@pytest.mark.parametrize("value", [0.0, 0.001, 0.0031308, 0.01, 0.2, 0.77, 1.0])
def test_srgb_encoding_is_the_inverse_of_decoding(value: float) -> None:
    found = draw(at_pixels(box(4, 4, 8, 8)), material=Material(unlit=True, base=(value, value, value, 1)))[5, 5, 0]
    below, above = to_linear(np.array([(found - 0.501) / 255, (found + 0.501) / 255]))
    assert below <= value <= above


def test_samples_are_averaged_in_linear_light() -> None:
    positions, faces = two(at_pixels(box(4, 4, 6.5, 12)), at_pixels(box(6.5, 4, 12, 12)))
    image = draw(positions, faces, colors=np.repeat([(0, 0, 0, 1), (1, 1, 1, 1)], 4, 0), samples=4)
    assert image[8, 5:8, 0].tolist() == [0, 188, 255]


def test_factors_multiply() -> None:
    texture = linear_texture(np.full((1, 1, 4), 0.5))
    material = Material(unlit=True, base=(0.8, 1, 1, 1), texture=0)
    image = draw(at_pixels(box(4, 4, 8, 8)), material=material, colors=(0.5, 1, 1, 1), textures=(texture,))
    np.testing.assert_allclose(to_linear(image[5, 5, :3] / 255.0), (0.2, 0.5, 0.5), atol=0.005)


def test_attributes_are_perspective_correct() -> None:
    slanted = np.array([(-6, -5, -8), (3, -5, 5), (3, 5, 5), (-6, 5, -8)], np.float32)
    ramp = np.array([(c, c, c, 1) for c in (0, 1, 1, 0)], float)
    image = draw(slanted, colors=ramp, samples=1)
    for x in range(6, 11):
        slope = (x + 0.5 - SIZE / 2) / DISTANCE  # the ray (slope, ., -1) from (0, ., DISTANCE) meets x = -6 + 9u, z = -8 + 13u
        u = (6 + 18 * slope) / (9 + 13 * slope)
        assert to_linear(np.array([image[8, x, 0] / 255]))[0] == pytest.approx(u, abs=0.006)


def test_texture_origin_is_top_left(tmp_path: Path) -> None:
    pixels = [[(255, 0, 0), (0, 255, 0)], [(0, 0, 255), (255, 255, 255)]]
    maker = textured_square(pixels, extensions={"KHR_materials_unlit": {}})
    maker.json["nodes"][0]["scale"] = [8, 8, 8]
    model = GltfModel(maker.save(tmp_path))
    image = rasterize_mesh(PreparedSurface(model.surface), *model.vertices(0.0), facing_camera())[0]
    quarters = [image[y, x, :3].tolist() for y, x in ((3, 3), (3, 12), (12, 3), (12, 12))]
    for found, expected in zip(quarters, [p for row in pixels for p in row], strict=True):
        assert (
            np.abs(to_linear(np.array(found) / 255.0) - np.array(expected) / 255.0).max() < 0.13
        )  # a sixteenth of a texel off its centre both ways
        assert (np.array(found) > 200).tolist() == (np.array(expected) > 200).tolist()


@pytest.mark.parametrize(
    ("u", "value"), [(0.125, 0.0), (0.375, 0.2), (0.25, 0.1), (0.5, 0.4), (1.375, 0.2), (-0.375, 0.6), (0.0, 0.5), (1.0, 0.5)]
)
def test_texture_lookup_is_bilinear_and_repeats(u: float, value: float) -> None:
    material = Material(unlit=True, texture=0)
    image = draw(at_pixels(box(4, 4, 8, 8)), material=material, textures=(ramp_texture(),), uvs=(u, 0.5, 0, 0))
    assert to_linear(np.array([image[5, 5, 0] / 255]))[0] == pytest.approx(value, abs=0.006)


def test_each_texture_has_its_own_place() -> None:
    textures = tuple(linear_texture(np.full((h, w, 3), v)) for h, w, v in ((3, 2, 0.1), (1, 5, 0.4), (2, 2, 0.9)))
    materials = tuple(Material(unlit=True, texture=k) for k in range(3))
    positions = np.concatenate([at_pixels(box(1 + 5 * k, 2, 5 + 5 * k, 14)) for k in range(3)])
    faces = np.concatenate([FACES + 4 * k for k in range(3)])
    image = draw(positions, faces, materials, face_materials=[0, 0, 1, 1, 2, 2], textures=textures, uvs=(0.9, 0.9, 0, 0))
    np.testing.assert_allclose(to_linear(image[8, [2, 7, 12], 0] / 255.0), (0.1, 0.4, 0.9), atol=0.006)


def test_emission_uses_its_own_coordinates() -> None:
    material = Material(base=(0, 0, 0, 1), emissive=(0.5, 0.5, 0.5), emissive_texture=0, uv_sets=(0, 1, 0, 0, 0))
    image = draw(at_pixels(box(4, 4, 8, 8)), material=material, textures=(ramp_texture(),), uvs=(0.125, 0.5, 0.625, 0.5))
    assert to_linear(np.array([image[5, 5, 0] / 255]))[0] == pytest.approx(0.3, abs=0.006)


def test_a_facing_plane_gets_energy_and_ambient() -> None:
    assert lit(sun(0, 0, 1)) == pytest.approx(0.7, abs=0.005)


@pytest.mark.parametrize("degrees", [20.0, 60.0, 85.0])
def test_lambert_cosine(degrees: float) -> None:
    angle = np.deg2rad(degrees)
    assert lit(sun(np.sin(angle), 0, np.cos(angle))) == pytest.approx(0.1 + 0.6 * np.cos(angle), abs=0.005)


def test_light_from_behind_leaves_the_ambient() -> None:
    assert lit(sun(0, 0, -1)) == pytest.approx(0.1, abs=0.003)


def test_lights_add_and_colours_scale() -> None:
    lights = Lights(unit(np.array([(0, 0, 1.0), (0, 1.0, 1.0)])), np.array([0.3, 0.4], np.float32), 0.05)
    assert lit(lights, Material(base=(0.5, 0.5, 0.5, 1))) == pytest.approx(0.5 * (0.35 + 0.4 * np.sqrt(0.5)), abs=0.005)


def test_light_saturates_and_unlit_ignores_it() -> None:
    assert lit(sun(0, 0, 1, energy=5)) == 1
    assert lit(sun(0, 0, -1), UNLIT) == 1


def test_two_sided_faces_are_lit_on_the_side_that_is_seen() -> None:
    assert lit(sun(0, 0, 1), Material(two_sided=True), FACES[:, ::-1]) == pytest.approx(0.7, abs=0.005)


def test_default_lights_are_four_unit_suns() -> None:
    lights = Lights()
    np.testing.assert_allclose(np.linalg.norm(lights.directions, axis=1), np.ones(4), atol=1e-6)
    np.testing.assert_allclose(lights.energies * np.pi, (4, 3, 4, 2), atol=1e-5)


def test_depth_and_motion_of_a_slanted_plane() -> None:
    slanted = np.array([(-6, -5, -8), (3, -5, 5), (3, 5, 5), (-6, 5, -8)], np.float32)
    velocities = np.array([(0, 0, 0), (1, 2, 3), (1, 2, 3), (0, 0, 0)], np.float32)
    surface = PreparedSurface(Surface(FACES, np.zeros(2, np.int32), np.zeros((4, 4), np.float32), np.ones((4, 4), np.float32), (UNLIT,)))
    normals = vertex_normals(slanted, FACES)
    images = rasterize_geometry(surface, slanted, normals, facing_camera(), velocities, samples=1)
    covered = images.rgba[0, ..., 3] > 0
    assert covered.any()
    assert not images.depth[0][~covered].any()
    assert not images.motion[0][~covered].any()
    for x in range(6, 11):
        slope = (x + 0.5 - SIZE / 2) / DISTANCE
        u = (6 + 18 * slope) / (9 + 13 * slope)
        assert images.depth[0, 8, x] == pytest.approx(DISTANCE + 8 - 13 * u, abs=1e-5)
        np.testing.assert_allclose(images.motion[0, 8, x], (u, 2 * u, 3 * u), atol=1e-5)
    assert np.array_equal(images.rgba, rasterize_mesh(surface, slanted, normals, facing_camera(), samples=1))


def test_depth_at_edges_is_that_of_the_surface() -> None:
    positions = at_pixels(box(3.3, 4.71, 9.77, 12.1))
    surface = PreparedSurface(Surface(FACES, np.zeros(2, np.int32), np.zeros((4, 4), np.float32), np.ones((4, 4), np.float32), (UNLIT,)))
    images = rasterize_geometry(surface, positions, vertex_normals(positions, FACES), facing_camera(), samples=4)
    np.testing.assert_allclose(images.depth[images.rgba[..., 3] > 0], DISTANCE, atol=1e-4)
    assert images.motion.shape == (1, SIZE, SIZE, 3)
    assert not images.motion.any()


def test_threads_change_nothing() -> None:
    mesh = procedural_object(5, "vehicle")
    positions, normals = mesh.vertices(0.2)
    surface, cameras = PreparedSurface(mesh.surface), orbit([0, 70, 140, 210, 280], 15, 24)
    one, two_, three = (rasterize_mesh(surface, positions, normals, cameras, threads=k) for k in (1, 2, 3))
    assert one[..., 3].any()
    assert np.array_equal(one, two_)
    assert np.array_equal(one, three)


def test_each_camera_has_its_own_image() -> None:
    mesh = procedural_object(5, "vehicle")
    positions, normals = mesh.vertices(0.2)
    surface, cameras = PreparedSurface(mesh.surface), orbit([0, 70, 140], 15, 24)
    together = rasterize_mesh(surface, positions, normals, cameras)
    assert together.shape == (3, 24, 24, 4)
    assert together.dtype == np.uint8
    for k in range(3):
        assert np.array_equal(together[k], rasterize_mesh(surface, positions, normals, cameras[k])[0])


def test_float64_and_strided_arrays_are_taken() -> None:
    positions = at_pixels(box(4, 4, 8, 8))
    wide = np.zeros((4, 6))
    wide[:, ::2] = positions
    assert np.array_equal(draw(wide[:, ::2]), draw(positions))


@pytest.mark.parametrize(
    ("positions", "normals"), [((3, 3), (3, 3)), ((4, 3), (3, 3)), ((4, 2), (4, 2)), ((4, 3), (4, 4)), ((5, 3), (5, 3))]
)
def test_arrays_of_wrong_shape_are_refused(positions: tuple[int, int], normals: tuple[int, int]) -> None:
    surface = Surface(FACES, np.zeros(2, np.int32), np.zeros((4, 4), np.float32), np.ones((4, 4), np.float32), (UNLIT,))
    with pytest.raises(InputError, match=r"positions: expected \[4, 3\] like normals, got") as caught:
        rasterize_mesh(PreparedSurface(surface), np.zeros(positions, np.float32), np.zeros(normals, np.float32), facing_camera())
    assert str(positions) in str(caught.value)


def test_velocities_of_wrong_shape_are_refused() -> None:
    positions = at_pixels(box(4, 4, 8, 8))
    surface = Surface(FACES, np.zeros(2, np.int32), np.zeros((4, 4), np.float32), np.ones((4, 4), np.float32), (UNLIT,))
    with pytest.raises(InputError, match=r"velocities: expected .*4, 3.*got .*3, 3"):
        rasterize_geometry(PreparedSurface(surface), positions, positions, facing_camera(), np.zeros((3, 3), np.float32))
