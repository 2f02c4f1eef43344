"""Laws of metallic-roughness shading: textures, normal maps, layers, energy, and the images of geometry."""

from __future__ import annotations

import numpy as np
import pytest

from chronosplat.assets.lights import Lights
from chronosplat.assets.mesh import Material, Surface, Texture, Wrap, to_linear, unit
from chronosplat.assets.prepared import PreparedSurface
from chronosplat.assets.raster import MeshImages, rasterize_geometry
from tests.assets.raster_kit import FACES, GREEN, RED, SIZE, UNLIT, at_pixels, box, draw, facing_camera, linear_texture, ramp_texture, two

NO_SUN = Lights(np.zeros((0, 3), np.float32), np.zeros(0, np.float32), 1.0)
UVS = np.array([(0, 1), (1, 1), (1, 0), (0, 0)], np.float32)  # of box(): the image's top is v = 0


def linear(image: np.ndarray) -> np.ndarray:
    return to_linear(image[..., :3] / 255.0)


def textured(texture: Texture, repeats: float = 1.0, samples: int = 2, **more: object) -> np.ndarray:
    """Linear colours [H, W, 3] of a texture on the whole image, unlit."""
    material = Material(unlit=True, texture=0)
    return linear(
        draw(at_pixels(box(0, 0, SIZE, SIZE)), material=material, textures=(texture,), uvs=UVS * repeats, samples=samples, shading="pbr")
    )


@pytest.mark.parametrize("repeats", [30, 40, 1000])
def test_small_textures_show_their_mean(repeats: int) -> None:
    checks = linear_texture(np.kron([[0, 1], [1, 0]], np.ones((4, 4)))[..., None].repeat(3, -1))
    np.testing.assert_allclose(textured(checks, repeats), 0.5, atol=0.03)


def test_levels_of_a_texture_change_smoothly() -> None:
    """A step in a mip-mapped texture blurs as wide as its footprint: never by more than its neighbours in scale."""
    noise = linear_texture(np.random.default_rng(0).uniform(0, 1, (64, 64, 3)))
    spread = [float(textured(noise, repeats).std()) for repeats in (0.25, 0.5, 1, 2, 4)]
    assert spread == sorted(spread, reverse=True)
    assert spread[-1] < 0.1 * spread[0]


def test_magnified_textures_are_those_of_plain_shading() -> None:
    material = Material(unlit=True, texture=0)
    arguments = {"positions": at_pixels(box(2, 3, 13, 14)), "material": material, "textures": (ramp_texture(),), "uvs": UVS, "samples": 1}
    assert np.abs(draw(**arguments).astype(int) - draw(**arguments, shading="pbr")).max() <= 1


def test_slanted_textures_are_near_to_the_average_of_many_samples() -> None:
    noise = linear_texture(np.random.default_rng(0).uniform(0, 1, (128, 128, 3)))
    floor = np.array([(-8, -5, 8), (8, -5, 8), (8, 5, -30), (-8, 5, -30)], np.float32)
    arguments = {"positions": floor, "material": Material(unlit=True, texture=0), "textures": (noise,), "uvs": UVS}
    truth = draw(**arguments, samples=24)
    inside = truth[..., 3] == 255
    assert inside.sum() > 80
    error = lambda image: float(np.sqrt(((linear(image) - linear(truth))[inside] ** 2).mean()))
    mipmapped, sampled = error(draw(**arguments, samples=1, shading="pbr")), error(draw(**arguments, samples=1))
    assert sampled > 0.1
    assert mipmapped < 0.25 * sampled, (mipmapped, sampled)


@pytest.mark.parametrize(
    ("wrap", "expected"),
    [
        (Wrap.REPEAT, (0.0, 0.2, 0.6, 1.0, 0.0, 0.2)),
        (Wrap.CLAMP, (0.0, 0.2, 0.6, 1.0, 1.0, 1.0)),
        (Wrap.MIRROR, (0.0, 0.2, 0.6, 1.0, 1.0, 0.6)),
    ],
)
@pytest.mark.parametrize("side", ["right", "left"])
def test_wrap(wrap: Wrap, expected: tuple[float, ...], side: str) -> None:
    texture = Texture(ramp_texture().pixels, wrap=(wrap, wrap))
    for k, value in enumerate(expected):
        u = (k + 0.5) / 4
        if side == "left":  # before 0 a repeated texture goes on from its end, a mirrored one turns round, a clamped one stays
            u, value = (u - 2 if wrap is Wrap.REPEAT else -u), (0.0 if wrap is Wrap.CLAMP else value)
        for uvs in ((u, 0.5), (0.5, u)):
            pixels = texture.pixels if uvs[0] == u else texture.pixels.transpose(1, 0, 2)
            turned = Texture(np.ascontiguousarray(pixels), wrap=texture.wrap)
            image = draw(at_pixels(box(4, 4, 8, 8)), material=Material(unlit=True, texture=0), textures=(turned,), uvs=uvs)
            assert linear(image)[5, 5, 0] == pytest.approx(value, abs=0.006)


def test_nearest_texels_are_squares() -> None:
    texture = Texture(ramp_texture().pixels, nearest=True)
    values = textured(texture)[8, :, 0]
    np.testing.assert_allclose(values, np.repeat([0, 0.2, 0.6, 1], SIZE // 4), atol=0.006)


# layers


@pytest.mark.parametrize("shading", ["lambert", "pbr"])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_layers_blend_by_depth_whatever_their_order(order: tuple[int, ...], shading: str) -> None:
    layers = [at_pixels(box(2, 2, 14, 14), float(z)) for z in (-1, 0, 1)]
    colors, alphas = [RED, GREEN, (0, 0, 1, 1)], (0.3, 0.5, 0.2)
    positions = np.concatenate([layers[k] for k in order])
    faces = np.concatenate([FACES + 4 * k for k in range(3)])
    materials = tuple(Material(unlit=True, alpha_mode=2, base=(1, 1, 1, alphas[k])) for k in order)
    image = draw(positions, faces, materials, np.repeat([colors[k] for k in order], 4, 0), np.repeat(range(3), 2), shading=shading)
    weights = np.array([0.3 * 0.5 * 0.8, 0.5 * 0.8, 0.2])
    assert image[8, 8, 3] == round(255 * weights.sum())
    np.testing.assert_allclose(linear(image)[4:12, 4:12], np.broadcast_to(weights / weights.sum(), (8, 8, 3)), atol=0.005)
    assert np.ptp(image[4:12, 4:12].reshape(-1, 4), 0).max() == 0  # the diagonal between two faces is not blended twice


def test_crossing_layers_blend_in_the_order_of_each_sample() -> None:
    flat = at_pixels(box(2, 2, 14, 14))
    slanted = np.array([(-6, -6, -2), (6, -6, 2), (6, 6, 2), (-6, 6, -2)], np.float32)
    positions, faces = two(flat, slanted)
    half = Material(unlit=True, alpha_mode=2, base=(1, 1, 1, 0.5))
    image = draw(positions, faces, half, np.repeat([RED, GREEN], 4, 0), samples=1, shading="pbr")
    assert linear(image)[8, 4, :2] == pytest.approx((2 / 3, 1 / 3), abs=0.01)
    assert linear(image)[8, 11, :2] == pytest.approx((1 / 3, 2 / 3), abs=0.01)


def test_layers_behind_an_opaque_face_are_hidden() -> None:
    positions, faces = two(at_pixels(box(2, 2, 14, 14), 1.0), at_pixels(box(2, 2, 14, 14), -1.0))
    half = Material(unlit=True, alpha_mode=2, base=(1, 1, 1, 0.5))
    image = draw(positions, faces, (UNLIT, half), np.repeat([RED, GREEN], 4, 0), [0, 0, 1, 1], shading="pbr")
    assert (image[2:14, 2:14] == (255, 0, 0, 255)).all()


# light


@pytest.mark.parametrize("roughness", [0.05, 0.3, 0.6, 1.0])
@pytest.mark.parametrize("metallic", [0.0, 1.0])
def test_white_surfaces_do_not_make_light(roughness: float, metallic: float) -> None:
    """Under a uniform sky of radiance 0.8 a white surface reflects nearly all of it, and no more."""
    material = Material(metallic=metallic, roughness=roughness)
    sky = Lights(NO_SUN.directions, NO_SUN.energies, 0.8)
    value = linear(draw(at_pixels(box(4, 4, 12, 12)), material=material, lights=sky, shading="pbr"))[8, 8]
    assert value.max() <= 0.805
    assert value.min() >= 0.78


def test_rough_dielectrics_look_like_plain_shading() -> None:
    lights = Lights(unit(np.array([(0.3, 0.8, 0.6)])), np.array([0.6], np.float32), 0.1)
    material = Material(base=(0.5, 0.4, 0.3, 1), roughness=1.0)
    plain, rough = (
        linear(draw(at_pixels(box(4, 4, 12, 12)), material=material, lights=lights, shading=s))[8, 8] for s in ("lambert", "pbr")
    )
    np.testing.assert_allclose(rough, plain, atol=0.04)


def test_metals_reflect_only_where_the_mirror_points_at_the_light() -> None:
    material = Material(base=(1.0, 0.5, 0.25, 1), metallic=1.0, roughness=0.15)
    shown = lambda *direction: linear(
        draw(
            at_pixels(box(6, 6, 10, 10)),
            material=material,
            lights=Lights(unit(np.array([direction])), np.array([0.005], np.float32), 0.0),
            shading="pbr",
        )
    )[8, 8]
    toward, aside = shown(0, 0, 1), shown(0.8, 0, 0.6)
    assert 0.1 < toward[0] < 0.9
    assert toward[0] > 100 * aside[0]
    np.testing.assert_allclose(toward / toward[0], (1, 0.5, 0.25), atol=0.03)


def test_textures_scale_metalness_and_roughness() -> None:
    pixel = Texture(np.array([[(255, 128, 64, 255)]], np.uint8), srgb=False)
    lights = Lights(unit(np.array([(0.2, 0.3, 1.0)])), np.array([0.3], np.float32), 0.2)
    base = {"base": (0.8, 0.4, 0.2, 1.0)}
    one = draw(
        at_pixels(box(4, 4, 12, 12)),
        material=Material(**base, metallic=1.0, roughness=1.0, surface_texture=0),
        textures=(pixel,),
        lights=lights,
        shading="pbr",
    )
    other = draw(
        at_pixels(box(4, 4, 12, 12)), material=Material(**base, metallic=64 / 255, roughness=128 / 255), lights=lights, shading="pbr"
    )
    assert np.abs(one.astype(int) - other).max() <= 1


def test_occlusion_darkens_the_sky_and_not_the_sun() -> None:
    shadow = Texture(np.zeros((1, 1, 4), np.uint8), srgb=False)
    sun = Lights(unit(np.array([(0.0, 0, 1)])), np.array([0.5], np.float32), 0.0)
    value = lambda lights, **more: linear(
        draw(at_pixels(box(4, 4, 12, 12)), material=Material(**more), textures=(shadow,), lights=lights, shading="pbr")
    )[8, 8, 0]
    assert value(NO_SUN, occlusion_texture=0) == 0
    assert value(Lights(NO_SUN.directions, NO_SUN.energies, 0.5), occlusion_texture=0, occlusion=0.5) == pytest.approx(0.25, abs=0.01)
    assert value(sun, occlusion_texture=0) == pytest.approx(value(sun), abs=0.002)


def test_strong_emission_saturates() -> None:
    material = Material(base=(0, 0, 0, 1), emissive=(5.0, 0.5, 0.0))
    value = linear(draw(at_pixels(box(4, 4, 12, 12)), material=material, lights=Lights(ambient=0.0).scaled(0), shading="pbr"))[8, 8]
    np.testing.assert_allclose(value, (1, 0.5, 0), atol=0.005)


# normal maps


def bumpy(normal: tuple[float, float, float], uvs: np.ndarray = UVS, scale: float = 1.0, two_sided_back: bool = False) -> float:
    """Radiance of a plane under a light from the upper right, with a normal map of one normal."""
    pixel = Texture(np.rint(255 * (np.array([[[*unit(np.array(normal)), 1.0]]]) + 1) / 2).astype(np.uint8), srgb=False)
    lights = Lights(unit(np.array([(0.6, 0.3, 0.74)])), np.array([0.6], np.float32), 0.0)
    material = Material(normal_texture=0, normal_scale=scale, specular=(0, 0, 0), two_sided=two_sided_back)
    faces = FACES[:, ::-1] if two_sided_back else FACES
    return float(
        linear(draw(at_pixels(box(4, 4, 12, 12)), faces, material, lights=lights, textures=(pixel,), uvs=uvs, shading="pbr"))[8, 8, 0]
    )


def facing(direction: tuple[float, float, float]) -> float:
    """Radiance of a surface of that normal."""
    return 0.6 * float(unit(np.array(direction)) @ unit(np.array((0.6, 0.3, 0.74))))


def test_a_flat_normal_map_changes_nothing() -> None:
    assert bumpy((0, 0, 1)) == pytest.approx(facing((0, 0, 1)), abs=0.006)


@pytest.mark.parametrize("normal", [(0.5, 0, 1), (-0.5, 0, 1), (0, 0.5, 1), (0, -0.5, 1), (0.3, 0.4, 1)])
def test_red_is_right_and_green_is_up(normal: tuple[float, float, float]) -> None:
    assert bumpy(normal) == pytest.approx(facing(normal), abs=0.006)


def test_a_mirrored_texture_mirrors_its_normals() -> None:
    assert bumpy((0.5, 0.2, 1), UVS * (-1, 1)) == pytest.approx(facing((-0.5, 0.2, 1)), abs=0.006)
    assert bumpy((0.5, 0.2, 1), UVS * (1, -1)) == pytest.approx(facing((0.5, -0.2, 1)), abs=0.006)


def test_a_turned_texture_turns_its_normals() -> None:
    turned = np.stack([1 - UVS[:, 1], UVS[:, 0]], 1)  # the image's right is the surface's up
    assert bumpy((0.5, 0.2, 1), turned) == pytest.approx(facing((-0.2, 0.5, 1)), abs=0.006)


def test_the_scale_of_a_normal_map() -> None:
    assert bumpy((0.5, 0.2, 1), scale=0.5) == pytest.approx(facing((0.25, 0.1, 1)), abs=0.006)
    assert bumpy((0.5, 0.2, 1), scale=0.0) == pytest.approx(facing((0, 0, 1)), abs=0.006)


# geometry


def geometry(positions: np.ndarray, normals: np.ndarray, material: Material = UNLIT, parts: tuple[int, int] | None = None) -> MeshImages:
    count = len(positions)
    face_parts = None if parts is None else np.array(parts, np.int32)
    surface = Surface(
        FACES, np.zeros(2, np.int32), np.zeros((count, 2), np.float32), np.ones((count, 4), np.float32), (material,), (), face_parts
    )
    return rasterize_geometry(PreparedSurface(surface), positions, normals.astype(np.float32), facing_camera(), samples=4, shading="pbr")


def test_normals_are_interpolated_and_on_the_side_of_the_camera() -> None:
    square = at_pixels(box(2, 2, 14, 14))
    given = unit(np.array([(-1, 0, 1), (1, 0, 1), (1, 0, 1), (-1, 0, 1.0)]))
    front, back = geometry(square, given).normals[0], geometry(square, -given).normals[0]
    np.testing.assert_allclose(front[8, 2:14, 0], unit(np.stack([np.arange(-5.5, 6) / 6, np.zeros(12), np.ones(12)], 1))[:, 0], atol=1e-3)
    np.testing.assert_allclose(front, back, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(front[2:14, 2:14], axis=-1), 1, atol=1e-6)
    assert not front[:2].any()


def test_parts_are_those_that_cover_most() -> None:
    square = at_pixels(box(2.2, 2, 14, 14))
    parts = geometry(square, np.tile((0, 0, 1.0), (4, 1)), parts=(7, 3)).parts[0]
    assert (parts[:, :2] == -1).all()
    assert parts[4, 2:4].tolist() == [3, 3]  # the upper left triangle is the second face
    assert parts[12, 12] == 7
    assert geometry(square, np.tile((0, 0, 1.0), (4, 1))).parts[0].max() == 0


def test_transparent_surfaces_count_by_their_share() -> None:
    positions, faces = two(at_pixels(box(2, 2, 14, 14), -1.0), at_pixels(box(2, 2, 14, 14), 1.0))
    materials = (Material(unlit=True), Material(unlit=True, alpha_mode=2, base=(1, 1, 1, 0.25)))
    surface = Surface(
        faces,
        np.array([0, 0, 1, 1], np.int32),
        np.zeros((8, 2), np.float32),
        np.ones((8, 4), np.float32),
        materials,
        (),
        np.array([0, 0, 1, 1], np.int32),
    )
    normals = np.tile(np.float32((0, 0, 1)), (8, 1))
    velocities = np.repeat(np.float32([(0, 0, 0), (1, 2, 3)]), 4, 0)
    images = rasterize_geometry(PreparedSurface(surface), positions, normals, facing_camera(), velocities, shading="pbr")
    assert images.rgba[0, 8, 8, 3] == 255
    assert images.depth[0, 8, 8] == pytest.approx(0.75 * 11 + 0.25 * 9)
    np.testing.assert_allclose(images.motion[0, 8, 8], (0.25, 0.5, 0.75), rtol=1e-5)
    assert images.parts[0, 8, 8] == 0
