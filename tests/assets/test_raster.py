"""The mesh rasteriser against pictures that are known exactly: coverage, colours, order, materials and light."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike, NDArray

from chronosplat.assets.mesh import Floats, Material, Surface, to_linear, unit, vertex_normals
from chronosplat.assets.model import GltfModel
from chronosplat.assets.procedural import procedural_object
from chronosplat.assets.raster import Lights, PreparedSurface, rasterize_geometry, rasterize_mesh
from chronosplat.cameras import Cameras, orbit
from chronosplat.shapes import InputError
from tests.assets.gltf_maker import SQUARE, SQUARE_FACES, GltfMaker, textured_square

Array = NDArray[np.floating]
Picture = NDArray[np.uint8]

SIZE = 16
DISTANCE = 10.0
UNLIT = Material(unlit=True)
FACES = SQUARE_FACES.reshape(-1, 3).astype(np.int32)


def facing_camera(size: int = SIZE) -> Cameras:
    """A camera on +z that looks down -z: at z = 0 one unit is one pixel, and the origin is the picture's centre."""
    viewmat = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    viewmat[2, 3] = DISTANCE
    K = torch.tensor([[DISTANCE, 0, size / 2], [0, DISTANCE, size / 2], [0, 0, 1.0]])
    return Cameras(viewmat[None], K[None], size, size)


def at_pixels(pixels: ArrayLike, z: float = 0.0, size: int = SIZE) -> Floats:
    """World points [n, 3] at a depth that appear at pixel positions [n, 2]."""
    flat = (np.asarray(pixels, float) - size / 2) * (1, -1) * (DISTANCE - z) / DISTANCE
    return np.concatenate([flat, np.full((len(flat), 1), z)], 1).astype(np.float32)


def box(left: float, top: float, right: float, bottom: float) -> Array:
    """Corners of a rectangle in pixels, counter-clockwise as seen: bottom left first, as in SQUARE."""
    return np.array([(left, bottom), (right, bottom), (right, top), (left, top)])


def draw(
    positions: Floats,
    faces: ArrayLike = FACES,
    material: Material | tuple[Material, ...] = UNLIT,
    colors: ArrayLike = (1, 1, 1, 1),
    face_materials: ArrayLike = 0,
    samples: int = 4,
    lights: Lights | None = None,
    cameras: Cameras | None = None,
    textures: tuple[Floats, ...] = (),
    uvs: ArrayLike = (0, 0, 0, 0),
) -> Picture:
    """The picture [H, W, 4] of a mesh from the first camera."""
    count, table = len(positions), material if isinstance(material, tuple) else (material,)
    index = np.asarray(faces, np.int32)
    surface = Surface(
        faces=index,
        face_materials=np.broadcast_to(np.asarray(face_materials, np.int32), len(index)),
        uvs=np.broadcast_to(np.asarray(uvs, np.float32), (count, 4)),
        colors=np.broadcast_to(np.asarray(colors, np.float32), (count, 4)),
        materials=table,
        textures=textures,
    )
    normals = vertex_normals(positions, index)
    return rasterize_mesh(PreparedSurface(surface), positions, normals, cameras or facing_camera(), lights, samples)[0]


def two(first: Floats, second: Floats) -> tuple[Floats, NDArray[np.integer]]:
    """Two rectangles as one mesh."""
    return np.concatenate([first, second]), np.concatenate([FACES, FACES + 4])


def share(low: float, high: float, samples: int) -> Array:
    """[SIZE] the number of samples of each pixel column (or row) between two edges."""
    at = (np.arange(SIZE * samples) + 0.5) / samples
    return ((at >= low) & (at <= high)).reshape(SIZE, samples).sum(1)


# coverage


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
@pytest.mark.parametrize("edges", [(3.3, 4.71, 9.77, 12.1), (2.02, 3.03, 2.6, 13.98), (-5, 5.45, 40, 6.55)])
def test_coverage_of_a_rectangle_is_exact(edges: tuple[float, float, float, float], samples: int) -> None:
    left, top, right, bottom = edges
    picture = draw(at_pixels(box(*edges)), samples=samples)
    covered = np.outer(share(top, bottom, samples), share(left, right, samples))
    assert np.array_equal(picture[..., 3], np.floor(255 * covered / samples**2 + 0.5).astype(np.uint8))
    assert covered.any()


def test_coverage_of_a_triangle_is_exact() -> None:
    corners, samples = np.array([(2.13, 13.4), (12.83, 10.91), (6.27, 1.77)]), 4
    picture = draw(at_pixels(corners), [(0, 1, 2)], samples=samples)
    at = (np.arange(SIZE * samples) + 0.5) / samples
    x, y = np.meshgrid(at, at)
    inside = np.ones_like(x, bool)
    for a, b in zip(corners, np.roll(corners, -1, 0), strict=True):
        inside &= (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0]) <= 0
    covered = inside.reshape(SIZE, samples, SIZE, samples).sum((1, 3))
    assert np.array_equal(picture[..., 3], np.floor(255 * covered / samples**2 + 0.5).astype(np.uint8))


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_alpha_takes_only_the_levels_of_its_samples(samples: int) -> None:
    mesh = procedural_object(3, "creature")
    positions, normals = mesh.vertices(0.3)
    pictures = rasterize_mesh(PreparedSurface(mesh.surface), positions - positions.mean(0), normals, orbit([0, 130], 10, 32), None, samples)
    levels = {int(255 * k / samples**2 + 0.5) for k in range(samples**2 + 1)}
    assert set(np.unique(pictures[..., 3])) <= levels
    assert 0.02 < (pictures[..., 3] == 255).mean() < 0.9


def test_background_is_exactly_zero() -> None:
    picture = draw(at_pixels(box(4, 4, 8, 8)))
    assert not picture[picture[..., 3] == 0].any()
    assert (picture[..., 3] == 255).sum() == 16
    assert (picture[..., 3] > 0).sum() == 16


def test_nothing_in_view_is_all_zero() -> None:
    assert not draw(at_pixels(box(40, 40, 50, 50))).any()
    assert not draw(at_pixels(box(4, 4, 8, 8)) + np.float32((0, 0, 2 * DISTANCE)), material=Material(two_sided=True)).any()


def test_colour_is_straight() -> None:
    picture = draw(at_pixels(box(3.3, 4.71, 9.77, 12.1)), samples=4)
    partial = (picture[..., 3] > 0) & (picture[..., 3] < 255)
    assert partial.sum() > 10
    assert (picture[picture[..., 3] > 0][:, :3] == 255).all()


def test_no_cracks_between_neighbours() -> None:
    rng, cells = np.random.default_rng(0), 12
    x, y = (g.ravel() for g in np.meshgrid(np.linspace(1, 15, cells), np.linspace(1, 15, cells)))
    inner = (x > 1) & (x < 15) & (y > 1) & (y < 15)
    points = np.stack([x, y], 1) + inner[:, None] * rng.uniform(-0.4, 0.4, (len(x), 2))
    k = np.arange(cells * cells).reshape(cells, cells)
    a, b, c, d = (q.ravel() for q in (k[:-1, :-1], k[:-1, 1:], k[1:, 1:], k[1:, :-1]))
    faces = np.concatenate([np.stack([a, c, b], 1), np.stack([a, d, c], 1)])
    picture = draw(at_pixels(points), faces, samples=8)
    assert (picture[1:15, 1:15, 3] == 255).all()


@pytest.mark.parametrize("seed", range(6))
def test_centroid_is_where_the_camera_projects_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cameras = orbit([float(rng.uniform(0, 360))], float(rng.uniform(-40, 60)), 48)
    middle = rng.uniform(-0.15, 0.15, 3)
    corners = (middle + rng.uniform(-0.3, 0.3, (3, 3))).astype(np.float32)
    seen = torch.from_numpy(corners).double() @ cameras.viewmats[0, :3, :3].double().T + cameras.viewmats[0, :3, 3].double()
    pixels = (seen / seen[:, 2:] @ cameras.Ks[0].double().T).numpy()[:, :2]
    alpha = draw(corners, [(0, 1, 2)], Material(unlit=True, two_sided=True), samples=8, cameras=cameras)[..., 3] / 255.0
    ys, xs = np.mgrid[:48, :48] + 0.5
    centroid = np.array([(alpha * xs).sum(), (alpha * ys).sum()]) / alpha.sum()
    np.testing.assert_allclose(centroid, pixels.mean(0), atol=0.1)  # the centroid of a triangle is the mean of its corners
    edges = np.diff(pixels[[0, 1, 2]], axis=0)
    area = abs(edges[0, 0] * edges[1, 1] - edges[0, 1] * edges[1, 0]) / 2
    assert alpha.sum() == pytest.approx(area, abs=0.02 * area + 0.5)


def test_principal_point_and_uneven_focal_lengths() -> None:
    base = facing_camera()
    K = base.Ks.clone()
    K[0, 0, 0], K[0, 1, 1], K[0, 0, 2], K[0, 1, 2] = 2 * DISTANCE, DISTANCE, 5.0, 9.0
    square = np.array([(0, -2, 0), (2, -2, 0), (2, 1, 0), (0, 1, 0)], np.float32)
    picture = draw(square, cameras=Cameras(base.viewmats, K, SIZE, SIZE))
    rows, columns = np.nonzero(picture[..., 3])
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (5, 8, 8, 10)


def test_pictures_need_not_be_square() -> None:
    base = facing_camera()
    wide = Cameras(base.viewmats, base.Ks, 24, 10)
    assert draw(at_pixels(box(20, 2, 23, 9)), cameras=wide)[2:9, 20:23, 3].all()


# order and sides

RED, GREEN = (1, 0, 0, 1), (0, 1, 0, 1)


@pytest.mark.parametrize("swap", [False, True])
def test_the_nearer_face_wins_whatever_the_order(swap: bool) -> None:
    far, near = at_pixels(box(2, 2, 14, 14), -1.0), at_pixels(box(4, 4, 9, 9), 1.0)
    positions, faces = two(near, far) if swap else two(far, near)
    colors = np.repeat([GREEN, RED] if swap else [RED, GREEN], 4, 0)
    picture = draw(positions, faces, colors=colors)
    assert (picture[4:9, 4:9] == (0, 255, 0, 255)).all()
    assert (picture[10:14, 2:14] == (255, 0, 0, 255)).all()
    assert (picture[2:4, 2:14] == (255, 0, 0, 255)).all()


def test_crossing_faces_share_the_picture() -> None:
    flat = at_pixels(box(2, 2, 14, 14))
    slanted = np.array([(-6, -6, -2), (6, -6, 2), (6, 6, 2), (-6, 6, -2)], np.float32)
    positions, faces = two(flat, slanted)
    picture = draw(positions, faces, colors=np.repeat([RED, GREEN], 4, 0), samples=1)
    assert (picture[8, 3:8] == (255, 0, 0, 255)).all()
    assert (picture[8, 8:13] == (0, 255, 0, 255)).all()


def test_back_faces_are_culled_unless_two_sided() -> None:
    positions = at_pixels(box(4, 4, 8, 8))
    assert not draw(positions, FACES[:, ::-1]).any()
    assert np.array_equal(draw(positions, FACES[:, ::-1], Material(unlit=True, two_sided=True)), draw(positions))


def test_mirrored_node_shows_its_front(tmp_path: Path) -> None:
    """A negative determinant turns the winding of a node's triangles round (glTF 2.0, section 3.7.4)."""
    pictures = []
    for scale in ((4, 4, 4), (-4, 4, 4)):
        maker = GltfMaker()
        maker.node(mesh=maker.mesh(SQUARE, SQUARE_FACES), scale=list(scale))
        model = GltfModel(maker.save(tmp_path))
        positions, normals = model.vertices(0.0)
        pictures.append(rasterize_mesh(PreparedSurface(model.surface), positions, normals, facing_camera())[0])
    assert pictures[0][..., 3].any()
    assert np.array_equal(pictures[0], pictures[1])


def test_faces_across_the_near_plane_are_not_drawn() -> None:
    through = np.array([(-4, -4, 0), (4, -4, 0), (4, 4, 2 * DISTANCE), (-4, 4, 2 * DISTANCE)], np.float32)
    assert not draw(through, material=Material(unlit=True, two_sided=True)).any()


def test_degenerate_and_huge_faces_do_no_harm() -> None:
    line = at_pixels([(2, 2), (9, 9), (9, 9), (2, 2)])
    assert not draw(line, material=Material(unlit=True, two_sided=True)).any()
    assert (draw(at_pixels(box(-1e6, -1e6, 1e6, 1e6)))[..., 3] == 255).all()


# transparency


@pytest.mark.parametrize(("alpha", "drawn"), [(0.0, False), (0.49, False), (0.5, True), (1.0, True)])
def test_mask_draws_where_alpha_reaches_the_cutoff(alpha: float, drawn: bool) -> None:
    masked = Material(unlit=True, alpha_mode=1, base=(1, 1, 1, alpha))
    picture = draw(at_pixels(box(4, 4, 8, 8)), material=masked)
    assert (picture[4:8, 4:8, 3] == 255 * drawn).all()


def test_mask_cutoff_follows_the_material_and_the_vertex() -> None:
    ramp = np.array([(1, 1, 1, a) for a in (0, 1, 1, 0)], float)
    picture = draw(at_pixels(box(0, 0, 16, 16)), material=Material(unlit=True, alpha_mode=1, cutoff=0.25), colors=ramp, samples=2)
    assert not picture[:, :4].any()
    assert (picture[:, 4:, 3] == 255).all()


def test_masked_holes_show_what_is_behind() -> None:
    positions, faces = two(at_pixels(box(2, 2, 14, 14), -1.0), at_pixels(box(4, 4, 8, 8), 1.0))
    clear = Material(unlit=True, alpha_mode=1, base=(1, 1, 1, 0.1))
    picture = draw(positions, faces, (UNLIT, clear), np.repeat([RED, GREEN], 4, 0), [0, 0, 1, 1])
    assert (picture[2:14, 2:14] == (255, 0, 0, 255)).all()


def test_opaque_materials_ignore_alpha() -> None:
    assert draw(at_pixels(box(4, 4, 8, 8)), material=Material(unlit=True, base=(1, 1, 1, 0)))[5, 5, 3] == 255


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_blend_covers_the_share_of_samples_that_alpha_says(samples: int) -> None:
    levels = samples**2
    for k in range(levels + 1):
        material = Material(unlit=True, alpha_mode=2, base=(1, 1, 1, k / levels))
        picture = draw(at_pixels(box(4, 4, 8, 8)), material=material, samples=samples)
        assert (picture[4:8, 4:8, 3] == int(255 * k / levels + 0.5)).all(), f"alpha {k}/{levels}"


@pytest.mark.parametrize("samples", [2, 3, 4])
def test_blend_share_equals_alpha_on_average(samples: int) -> None:
    ramp = np.array([(1, 1, 1, a) for a in (0, 1, 1, 0)], float)
    picture = draw(at_pixels(box(0, 0, 16, 16)), material=Material(unlit=True, alpha_mode=2), colors=ramp, samples=samples)
    assert picture[..., 3].mean() / 255 == pytest.approx(0.5, abs=0.02)


def test_blend_lets_through_what_is_behind() -> None:
    positions, faces = two(at_pixels(box(2, 2, 14, 14), -1.0), at_pixels(box(4, 4, 8, 8), 1.0))
    half = Material(unlit=True, alpha_mode=2, base=(1, 1, 1, 4 / 9))
    picture = draw(positions, faces, (UNLIT, half), np.repeat([RED, GREEN], 4, 0), [0, 0, 1, 1], samples=3)
    assert (picture[2:14, 2:14, 3] == 255).all()
    np.testing.assert_allclose(to_linear(picture[4:8, 4:8, :2] / 255.0), np.broadcast_to((5 / 9, 4 / 9), (4, 4, 2)), atol=0.005)


# colours


def test_vertex_colours_are_linear_light() -> None:
    picture = draw(at_pixels(box(4, 4, 8, 8)), colors=(0.5, 0.0, 1.0, 1.0))
    assert picture[5, 5].tolist() == [188, 0, 255, 255]


@pytest.mark.parametrize("value", [0.0, 0.001, 0.0031308, 0.01, 0.2, 0.77, 1.0])
def test_srgb_encoding_is_the_inverse_of_decoding(value: float) -> None:
    found = draw(at_pixels(box(4, 4, 8, 8)), material=Material(unlit=True, base=(value, value, value, 1)))[5, 5, 0]
    below, above = to_linear(np.array([(found - 0.501) / 255, (found + 0.501) / 255]))
    assert below <= value <= above


def test_samples_are_averaged_in_linear_light() -> None:
    positions, faces = two(at_pixels(box(4, 4, 6.5, 12)), at_pixels(box(6.5, 4, 12, 12)))
    picture = draw(positions, faces, colors=np.repeat([(0, 0, 0, 1), (1, 1, 1, 1)], 4, 0), samples=4)
    assert picture[8, 5:8, 0].tolist() == [0, 188, 255]


def test_factors_multiply() -> None:
    texture = np.full((1, 1, 4), 0.5, np.float32)
    material = Material(unlit=True, base=(0.8, 1, 1, 1), texture=0)
    picture = draw(at_pixels(box(4, 4, 8, 8)), material=material, colors=(0.5, 1, 1, 1), textures=(texture,))
    np.testing.assert_allclose(to_linear(picture[5, 5, :3] / 255.0), (0.2, 0.5, 0.5), atol=0.005)


def test_attributes_are_perspective_correct() -> None:
    slanted = np.array([(-6, -5, -8), (3, -5, 5), (3, 5, 5), (-6, 5, -8)], np.float32)
    ramp = np.array([(c, c, c, 1) for c in (0, 1, 1, 0)], float)
    picture = draw(slanted, colors=ramp, samples=1)
    for x in range(6, 11):
        slope = (x + 0.5 - SIZE / 2) / DISTANCE  # the ray (slope, ., -1) from (0, ., DISTANCE) meets x = -6 + 9u, z = -8 + 13u
        u = (6 + 18 * slope) / (9 + 13 * slope)
        assert to_linear(np.array([picture[8, x, 0] / 255]))[0] == pytest.approx(u, abs=0.006)


def test_texture_origin_is_top_left(tmp_path: Path) -> None:
    pixels = [[(255, 0, 0), (0, 255, 0)], [(0, 0, 255), (255, 255, 255)]]
    maker = textured_square(pixels, extensions={"KHR_materials_unlit": {}})
    maker.json["nodes"][0]["scale"] = [8, 8, 8]
    model = GltfModel(maker.save(tmp_path))
    picture = rasterize_mesh(PreparedSurface(model.surface), *model.vertices(0.0), facing_camera())[0]
    quarters = [picture[y, x, :3].tolist() for y, x in ((3, 3), (3, 12), (12, 3), (12, 12))]
    for found, expected in zip(quarters, [p for row in pixels for p in row], strict=True):
        assert (
            np.abs(to_linear(np.array(found) / 255.0) - np.array(expected) / 255.0).max() < 0.13
        )  # a sixteenth of a texel off its centre both ways
        assert (np.array(found) > 200).tolist() == (np.array(expected) > 200).tolist()


def ramp_texture() -> Floats:
    """Four grey texels in a row."""
    texture = np.ones((1, 4, 4), np.float32)
    texture[0, :, :3] = np.array([0.0, 0.2, 0.6, 1.0])[:, None]
    return texture


@pytest.mark.parametrize(
    ("u", "value"), [(0.125, 0.0), (0.375, 0.2), (0.25, 0.1), (0.5, 0.4), (1.375, 0.2), (-0.375, 0.6), (0.0, 0.5), (1.0, 0.5)]
)
def test_texture_lookup_is_bilinear_and_repeats(u: float, value: float) -> None:
    material = Material(unlit=True, texture=0)
    picture = draw(at_pixels(box(4, 4, 8, 8)), material=material, textures=(ramp_texture(),), uvs=(u, 0.5, 0, 0))
    assert to_linear(np.array([picture[5, 5, 0] / 255]))[0] == pytest.approx(value, abs=0.006)


def test_each_texture_has_its_own_place() -> None:
    textures = tuple(np.full((h, w, 4), v, np.float32) for h, w, v in ((3, 2, 0.1), (1, 5, 0.4), (2, 2, 0.9)))
    materials = tuple(Material(unlit=True, texture=k) for k in range(3))
    positions = np.concatenate([at_pixels(box(1 + 5 * k, 2, 5 + 5 * k, 14)) for k in range(3)])
    faces = np.concatenate([FACES + 4 * k for k in range(3)])
    picture = draw(positions, faces, materials, face_materials=[0, 0, 1, 1, 2, 2], textures=textures, uvs=(0.9, 0.9, 0, 0))
    np.testing.assert_allclose(to_linear(picture[8, [2, 7, 12], 0] / 255.0), (0.1, 0.4, 0.9), atol=0.006)


def test_emission_uses_its_own_coordinates() -> None:
    material = Material(base=(0, 0, 0, 1), emissive=(0.5, 0.5, 0.5), emissive_texture=0)
    picture = draw(at_pixels(box(4, 4, 8, 8)), material=material, textures=(ramp_texture(),), uvs=(0.125, 0.5, 0.625, 0.5))
    assert to_linear(np.array([picture[5, 5, 0] / 255]))[0] == pytest.approx(0.3, abs=0.006)


# light


def sun(*direction: float, energy: float = 0.6, ambient: float = 0.1) -> Lights:
    """One light."""
    return Lights(unit(np.array([direction])), np.array([energy], np.float32), ambient)


def lit(lights: Lights, material: Material = Material(), faces: ArrayLike = FACES) -> float:
    """The linear red of a lit square that faces the camera."""
    return float(to_linear(np.array([draw(at_pixels(box(4, 4, 8, 8)), faces, material, lights=lights)[5, 5, 0] / 255]))[0])


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


# depth and motion


def test_depth_and_motion_of_a_slanted_plane() -> None:
    slanted = np.array([(-6, -5, -8), (3, -5, 5), (3, 5, 5), (-6, 5, -8)], np.float32)
    velocities = np.array([(0, 0, 0), (1, 2, 3), (1, 2, 3), (0, 0, 0)], np.float32)
    surface = PreparedSurface(Surface(FACES, np.zeros(2, np.int32), np.zeros((4, 4), np.float32), np.ones((4, 4), np.float32), (UNLIT,)))
    normals = vertex_normals(slanted, FACES)
    pictures = rasterize_geometry(surface, slanted, normals, facing_camera(), velocities, samples=1)
    covered = pictures.rgba[0, ..., 3] > 0
    assert covered.any()
    assert not pictures.depth[0][~covered].any()
    assert not pictures.motion[0][~covered].any()
    for x in range(6, 11):
        slope = (x + 0.5 - SIZE / 2) / DISTANCE
        u = (6 + 18 * slope) / (9 + 13 * slope)
        assert pictures.depth[0, 8, x] == pytest.approx(DISTANCE + 8 - 13 * u, abs=1e-3)
        np.testing.assert_allclose(pictures.motion[0, 8, x], (u, 2 * u, 3 * u), atol=1e-3)
    assert np.array_equal(pictures.rgba, rasterize_mesh(surface, slanted, normals, facing_camera(), samples=1))


def test_depth_at_edges_is_that_of_the_surface() -> None:
    positions = at_pixels(box(3.3, 4.71, 9.77, 12.1))
    surface = PreparedSurface(Surface(FACES, np.zeros(2, np.int32), np.zeros((4, 4), np.float32), np.ones((4, 4), np.float32), (UNLIT,)))
    pictures = rasterize_geometry(surface, positions, vertex_normals(positions, FACES), facing_camera(), samples=4)
    np.testing.assert_allclose(pictures.depth[pictures.rgba[..., 3] > 0], DISTANCE, atol=1e-4)
    assert pictures.motion.shape == (1, SIZE, SIZE, 3)
    assert not pictures.motion.any()


# the call


def test_threads_change_nothing() -> None:
    mesh = procedural_object(5, "vehicle")
    positions, normals = mesh.vertices(0.2)
    surface, cameras = PreparedSurface(mesh.surface), orbit([0, 70, 140, 210, 280], 15, 24)
    one, two_, three = (rasterize_mesh(surface, positions, normals, cameras, threads=k) for k in (1, 2, 3))
    assert one[..., 3].any()
    assert np.array_equal(one, two_)
    assert np.array_equal(one, three)


def test_each_camera_has_its_own_picture() -> None:
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
def test_arrays_that_do_not_belong_are_refused(positions: tuple[int, int], normals: tuple[int, int]) -> None:
    surface = Surface(FACES, np.zeros(2, np.int32), np.zeros((4, 4), np.float32), np.ones((4, 4), np.float32), (UNLIT,))
    with pytest.raises(InputError, match=r"positions: expected \[4, 3\] like normals, got") as caught:
        rasterize_mesh(PreparedSurface(surface), np.zeros(positions, np.float32), np.zeros(normals, np.float32), facing_camera())
    assert str(positions) in str(caught.value)


def test_velocities_that_do_not_belong_are_refused() -> None:
    positions = at_pixels(box(4, 4, 8, 8))
    surface = Surface(FACES, np.zeros(2, np.int32), np.zeros((4, 4), np.float32), np.ones((4, 4), np.float32), (UNLIT,))
    with pytest.raises(InputError):
        rasterize_geometry(PreparedSurface(surface), positions, positions, facing_camera(), np.zeros((3, 3), np.float32))
