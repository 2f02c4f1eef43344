"""The mesh rasteriser against exactly known images: coverage, colours, order, materials and light."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from chronosplat.assets.mesh import Material
from chronosplat.assets.model import GltfModel
from chronosplat.assets.prepared import PreparedSurface
from chronosplat.assets.procedural import procedural_object
from chronosplat.assets.raster import rasterize_mesh
from chronosplat.cameras import Cameras, orbit
from tests.assets.gltf_maker import SQUARE, SQUARE_FACES, GltfMaker
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
    share,
    two,
)


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
@pytest.mark.parametrize("edges", [(3.3, 4.71, 9.77, 12.1), (2.02, 3.03, 2.6, 13.98), (-5, 5.45, 40, 6.55)])
def test_coverage_of_a_rectangle_is_exact(edges: tuple[float, float, float, float], samples: int) -> None:
    left, top, right, bottom = edges
    image = draw(at_pixels(box(*edges)), samples=samples)
    covered = np.outer(share(top, bottom, samples), share(left, right, samples))
    assert np.array_equal(image[..., 3], np.floor(255 * covered / samples**2 + 0.5).astype(np.uint8))
    assert covered.any()


def test_coverage_of_a_triangle_is_exact() -> None:
    corners, samples = np.array([(2.13, 13.4), (12.83, 10.91), (6.27, 1.77)]), 4
    image = draw(at_pixels(corners), [(0, 1, 2)], samples=samples)
    at = (np.arange(SIZE * samples) + 0.5) / samples
    x, y = np.meshgrid(at, at)
    inside = np.ones_like(x, bool)
    for a, b in zip(corners, np.roll(corners, -1, 0), strict=True):
        inside &= (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0]) <= 0
    covered = inside.reshape(SIZE, samples, SIZE, samples).sum((1, 3))
    assert np.array_equal(image[..., 3], np.floor(255 * covered / samples**2 + 0.5).astype(np.uint8))


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_alpha_takes_only_the_levels_of_its_samples(samples: int) -> None:
    mesh = procedural_object(3, "creature")
    positions, normals = mesh.vertices(0.3)
    images = rasterize_mesh(PreparedSurface(mesh.surface), positions - positions.mean(0), normals, orbit([0, 130], 10, 32), None, samples)
    levels = {int(255 * k / samples**2 + 0.5) for k in range(samples**2 + 1)}
    assert set(np.unique(images[..., 3])) <= levels
    assert 0.02 < (images[..., 3] == 255).mean() < 0.9


def test_background_is_exactly_zero() -> None:
    image = draw(at_pixels(box(4, 4, 8, 8)))
    assert not image[image[..., 3] == 0].any()
    assert (image[..., 3] == 255).sum() == 16
    assert (image[..., 3] > 0).sum() == 16


def test_an_empty_view_is_all_zero() -> None:
    assert not draw(at_pixels(box(40, 40, 50, 50))).any()
    assert not draw(at_pixels(box(4, 4, 8, 8)) + np.float32((0, 0, 2 * DISTANCE)), material=Material(two_sided=True)).any()


def test_colour_is_straight() -> None:
    image = draw(at_pixels(box(3.3, 4.71, 9.77, 12.1)), samples=4)
    partial = (image[..., 3] > 0) & (image[..., 3] < 255)
    assert partial.sum() > 10
    assert (image[image[..., 3] > 0][:, :3] == 255).all()


def test_no_cracks_between_neighbours() -> None:
    rng, cells = np.random.default_rng(0), 12
    x, y = (g.ravel() for g in np.meshgrid(np.linspace(1, 15, cells), np.linspace(1, 15, cells)))
    inner = (x > 1) & (x < 15) & (y > 1) & (y < 15)
    points = np.stack([x, y], 1) + inner[:, None] * rng.uniform(-0.4, 0.4, (len(x), 2))
    k = np.arange(cells * cells).reshape(cells, cells)
    a, b, c, d = (q.ravel() for q in (k[:-1, :-1], k[:-1, 1:], k[1:, 1:], k[1:, :-1]))
    faces = np.concatenate([np.stack([a, c, b], 1), np.stack([a, d, c], 1)])
    image = draw(at_pixels(points), faces, samples=8)
    assert (image[1:15, 1:15, 3] == 255).all()


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
    image = draw(square, cameras=Cameras(base.viewmats, K, SIZE, SIZE))
    rows, columns = np.nonzero(image[..., 3])
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (5, 8, 8, 10)


def test_images_need_not_be_square() -> None:
    base = facing_camera()
    wide = Cameras(base.viewmats, base.Ks, 24, 10)
    assert draw(at_pixels(box(20, 2, 23, 9)), cameras=wide)[2:9, 20:23, 3].all()


@pytest.mark.parametrize("swap", [False, True])
def test_the_nearer_face_wins_whatever_the_order(swap: bool) -> None:
    far, near = at_pixels(box(2, 2, 14, 14), -1.0), at_pixels(box(4, 4, 9, 9), 1.0)
    positions, faces = two(near, far) if swap else two(far, near)
    colors = np.repeat([GREEN, RED] if swap else [RED, GREEN], 4, 0)
    image = draw(positions, faces, colors=colors)
    assert (image[4:9, 4:9] == (0, 255, 0, 255)).all()
    assert (image[10:14, 2:14] == (255, 0, 0, 255)).all()
    assert (image[2:4, 2:14] == (255, 0, 0, 255)).all()


def test_crossing_faces_share_the_image() -> None:
    flat = at_pixels(box(2, 2, 14, 14))
    slanted = np.array([(-6, -6, -2), (6, -6, 2), (6, 6, 2), (-6, 6, -2)], np.float32)
    positions, faces = two(flat, slanted)
    image = draw(positions, faces, colors=np.repeat([RED, GREEN], 4, 0), samples=1)
    assert (image[8, 3:8] == (255, 0, 0, 255)).all()
    assert (image[8, 8:13] == (0, 255, 0, 255)).all()


def test_back_faces_are_culled_unless_two_sided() -> None:
    positions = at_pixels(box(4, 4, 8, 8))
    assert not draw(positions, FACES[:, ::-1]).any()
    assert np.array_equal(draw(positions, FACES[:, ::-1], Material(unlit=True, two_sided=True)), draw(positions))


def test_mirrored_node_shows_its_front(tmp_path: Path) -> None:
    """A negative determinant reverses the winding of a node's triangles (glTF 2.0, section 3.7.4)."""
    images = []
    for scale in ((4, 4, 4), (-4, 4, 4)):
        maker = GltfMaker()
        maker.node(mesh=maker.mesh(SQUARE, SQUARE_FACES), scale=list(scale))
        model = GltfModel(maker.save(tmp_path))
        positions, normals = model.vertices(0.0)
        images.append(rasterize_mesh(PreparedSurface(model.surface), positions, normals, facing_camera())[0])
    assert images[0][..., 3].any()
    assert np.array_equal(images[0], images[1])


def test_faces_across_the_near_plane_are_culled() -> None:
    through = np.array([(-4, -4, 0), (4, -4, 0), (4, 4, 2 * DISTANCE), (-4, 4, 2 * DISTANCE)], np.float32)
    assert not draw(through, material=Material(unlit=True, two_sided=True)).any()


def test_degenerate_and_huge_faces_do_no_harm() -> None:
    line = at_pixels([(2, 2), (9, 9), (9, 9), (2, 2)])
    assert not draw(line, material=Material(unlit=True, two_sided=True)).any()
    assert (draw(at_pixels(box(-1e6, -1e6, 1e6, 1e6)))[..., 3] == 255).all()


@pytest.mark.parametrize(("alpha", "visible"), [(0.0, False), (0.49, False), (0.5, True), (1.0, True)])
def test_mask_is_visible_where_alpha_reaches_the_cutoff(alpha: float, visible: bool) -> None:
    masked = Material(unlit=True, alpha_mode=1, base=(1, 1, 1, alpha))
    image = draw(at_pixels(box(4, 4, 8, 8)), material=masked)
    assert (image[4:8, 4:8, 3] == 255 * visible).all()


def test_mask_cutoff_follows_the_material_and_the_vertex() -> None:
    ramp = np.array([(1, 1, 1, a) for a in (0, 1, 1, 0)], float)
    image = draw(at_pixels(box(0, 0, 16, 16)), material=Material(unlit=True, alpha_mode=1, cutoff=0.25), colors=ramp, samples=2)
    assert not image[:, :4].any()
    assert (image[:, 4:, 3] == 255).all()


def test_faces_are_visible_through_masked_holes() -> None:
    positions, faces = two(at_pixels(box(2, 2, 14, 14), -1.0), at_pixels(box(4, 4, 8, 8), 1.0))
    clear = Material(unlit=True, alpha_mode=1, base=(1, 1, 1, 0.1))
    image = draw(positions, faces, (UNLIT, clear), np.repeat([RED, GREEN], 4, 0), [0, 0, 1, 1])
    assert (image[2:14, 2:14] == (255, 0, 0, 255)).all()


def test_opaque_materials_ignore_alpha() -> None:
    assert draw(at_pixels(box(4, 4, 8, 8)), material=Material(unlit=True, base=(1, 1, 1, 0)))[5, 5, 3] == 255


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_blend_covers_a_fraction_alpha_of_the_samples(samples: int) -> None:
    levels = samples**2
    for k in range(levels + 1):
        material = Material(unlit=True, alpha_mode=2, base=(1, 1, 1, k / levels))
        image = draw(at_pixels(box(4, 4, 8, 8)), material=material, samples=samples)
        assert (image[4:8, 4:8, 3] == int(255 * k / levels + 0.5)).all(), f"alpha {k}/{levels}"


@pytest.mark.parametrize("samples", [2, 3, 4])
def test_blend_share_equals_alpha_on_average(samples: int) -> None:
    ramp = np.array([(1, 1, 1, a) for a in (0, 1, 1, 0)], float)
    image = draw(at_pixels(box(0, 0, 16, 16)), material=Material(unlit=True, alpha_mode=2), colors=ramp, samples=samples)
    assert image[..., 3].mean() / 255 == pytest.approx(0.5, abs=0.02)
