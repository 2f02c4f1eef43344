"""Materials, textures and texture coordinates read from files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

from chronosplat.assets.gltf import GltfFile
from chronosplat.assets.materials import TEXTURE_MAX, TextureTable, coordinate_sets, read_material, texture_coordinates
from chronosplat.assets.mesh import Material, Part, Wrap, to_linear
from chronosplat.assets.model import GltfModel
from chronosplat.assets.prepared import decode
from tests.assets.gltf_maker import SQUARE, SQUARE_FACES, GltfMaker, floats, two_joint_strip


def read(maker: GltfMaker, material: dict[str, Any], folder: Path) -> tuple[Material, TextureTable]:
    """A material of the maker's file, and the textures that it needed."""
    table = TextureTable(GltfFile(maker.save(folder)))
    return read_material(material, table), table


def test_defaults(tmp_path: Path) -> None:
    material, table = read(GltfMaker(), {}, tmp_path)
    assert material == Material(base=(1, 1, 1, 1), texture=-1, emissive_texture=-1, alpha_mode=0, cutoff=0.5, metallic=1.0)
    assert (material.two_sided, material.unlit, table.textures) == (False, False, [])


@pytest.mark.parametrize(("name", "number"), [("OPAQUE", 0), ("MASK", 1), ("BLEND", 2), ("SOMETHING", 0)])
def test_fields(tmp_path: Path, name: str, number: int) -> None:
    given = {
        "pbrMetallicRoughness": {"baseColorFactor": [0.1, 0.2, 0.3, 0.4]},
        "alphaMode": name,
        "alphaCutoff": 0.7,
        "doubleSided": True,
        "emissiveFactor": [0.5, 0.25, 0],
        "extensions": {"KHR_materials_unlit": {}, "KHR_materials_emissive_strength": {"emissiveStrength": 4}},
    }
    material, _ = read(GltfMaker(), given, tmp_path)
    assert material == Material((0.1, 0.2, 0.3, 0.4), (2.0, 1.0, 0.0), -1, -1, number, 0.7, True, True, metallic=1.0)


def test_specular_glossiness(tmp_path: Path) -> None:
    maker = GltfMaker()
    glossy = {"diffuseFactor": [0.3, 0.2, 0.1, 1], "diffuseTexture": {"index": maker.texture([[(9, 9, 9)]])}}
    material, _ = read(maker, {"extensions": {"KHR_materials_pbrSpecularGlossiness": glossy}}, tmp_path)
    assert material.base == (0.3, 0.2, 0.1, 1)
    assert material.texture == 0
    assert (material.metallic, material.roughness, material.specular) == (0.0, 0.0, (1.0, 1.0, 1.0))


def test_glossiness_becomes_roughness(tmp_path: Path) -> None:
    maker = GltfMaker()
    texture = maker.texture([[(255, 0, 255, 0), (255, 0, 255, 255)]])
    glossy = {"specularFactor": [0.5, 0.5, 0.25], "glossinessFactor": 0.6, "specularGlossinessTexture": {"index": texture}}
    material, table = read(maker, {"extensions": {"KHR_materials_pbrSpecularGlossiness": glossy}}, tmp_path)
    assert (material.metallic, material.roughness, material.surface_texture) == (0.0, 1.0, 0)
    np.testing.assert_allclose(material.specular, (0.5, 0.0, 0.25), atol=1e-6)
    assert table.textures[0].pixels[0, :, 1].tolist() == [255, 102]  # 1 - 0.6 alpha
    assert not table.textures[0].srgb
    factor_only, _ = read(GltfMaker(), {"extensions": {"KHR_materials_pbrSpecularGlossiness": {"glossinessFactor": 0.3}}}, tmp_path)
    assert factor_only.roughness == pytest.approx(0.7)


def test_metallic_roughness_normal_and_occlusion(tmp_path: Path) -> None:
    maker = GltfMaker()
    surface, normal, shadow = (maker.texture([[(k, 2, 3)]]) for k in range(3))
    given = {
        "pbrMetallicRoughness": {"metallicFactor": 0.2, "roughnessFactor": 0.3, "metallicRoughnessTexture": {"index": surface}},
        "normalTexture": {"index": normal, "scale": 0.5},
        "occlusionTexture": {"index": shadow, "strength": 0.25},
    }
    material, table = read(maker, given, tmp_path)
    assert (material.metallic, material.roughness, material.normal_scale, material.occlusion) == (0.2, 0.3, 0.5, 0.25)
    names = ("surface_texture", "normal_texture", "occlusion_texture")
    assert [int(table.textures[getattr(material, name)].pixels[0, 0, 0]) for name in names] == [0, 1, 2]
    assert not any(texture.srgb for texture in table.textures)


@pytest.mark.parametrize(
    ("extensions", "expected"),
    [
        ({}, (0.04, 0.04, 0.04)),
        ({"KHR_materials_ior": {"ior": 2.0}}, (1 / 9, 1 / 9, 1 / 9)),
        ({"KHR_materials_specular": {"specularFactor": 0.5, "specularColorFactor": [1, 0.5, 100]}}, (0.02, 0.01, 1.0)),
    ],
)
def test_reflectance_of_dielectrics(tmp_path: Path, extensions: dict[str, Any], expected: tuple[float, ...]) -> None:
    material, _ = read(GltfMaker(), {"extensions": extensions}, tmp_path)
    np.testing.assert_allclose(material.specular, expected, rtol=1e-6)


def test_samplers(tmp_path: Path) -> None:
    maker = GltfMaker()
    plain = maker.texture([[(1, 2, 3)]])
    sampler = maker.add("samplers", {"wrapS": 33071, "wrapT": 33648, "magFilter": 9728})
    other = maker.add("textures", {"source": 0, "sampler": sampler})
    table = TextureTable(GltfFile(maker.save(tmp_path)))
    assert [table.add({"index": i}) for i in (plain, other)] == [0, 1]
    assert [t.wrap for t in table.textures] == [(Wrap.REPEAT, Wrap.REPEAT), (Wrap.CLAMP, Wrap.MIRROR)]
    assert [t.nearest for t in table.textures] == [False, True]
    assert table.textures[0].pixels is table.textures[1].pixels


def test_an_image_may_be_colour_and_data(tmp_path: Path) -> None:
    maker = GltfMaker()
    texture = maker.texture([[(1, 2, 3)]])
    table = TextureTable(GltfFile(maker.save(tmp_path)))
    assert [table.add({"index": texture}, srgb) for srgb in (True, False, True)] == [0, 1, 0]


def test_textures_with_equal_coordinates_share_a_set() -> None:
    moved = {"KHR_texture_transform": {"offset": [0.5, 0]}}
    material = {
        "pbrMetallicRoughness": {"baseColorTexture": {"index": 0}, "metallicRoughnessTexture": {"index": 1, "texCoord": 1}},
        "emissiveTexture": {"index": 2, "extensions": moved},
        "normalTexture": {"index": 3},
        "occlusionTexture": {"index": 4, "texCoord": 1},
    }
    kept, indices = coordinate_sets(material)
    assert [reference and reference["index"] for reference in kept] == [0, 2, 1]
    assert indices == (0, 1, 2, 0, 2)
    assert coordinate_sets({}) == ([None], (0, 0, 0, 0, 0))


def test_colour_textures_keep_the_bytes_of_the_file(tmp_path: Path) -> None:
    maker = GltfMaker()
    texture = maker.texture([[(0, 188, 255, 128), (10, 55, 255, 0)]])
    _, table = read(maker, {"emissiveTexture": {"index": texture}}, tmp_path)
    (texture_,) = table.textures
    assert texture_.srgb
    assert texture_.pixels.tolist() == [[[0, 188, 255, 128], [10, 55, 255, 0]]]
    np.testing.assert_allclose(decode(True)[[0, 188, 10]], (0, ((188 / 255 + 0.055) / 1.055) ** 2.4, 10 / 255 / 12.92), atol=1e-6)


def test_an_image_is_decoded_once(tmp_path: Path) -> None:
    maker = GltfMaker()
    first = maker.texture([[(1, 2, 3)]])
    again = maker.add("textures", {"source": 0})
    other = maker.texture([[(4, 5, 6)]])
    table = TextureTable(GltfFile(maker.save(tmp_path)))
    assert [table.add({"index": i}) for i in (first, again, other)] == [0, 0, 1]
    assert table.add(None) == -1
    assert len(table.textures) == 2


def test_webp_textures_and_textures_without_a_source(tmp_path: Path) -> None:
    maker = GltfMaker()
    maker.texture([[(1, 2, 3)]])
    webp = maker.add("textures", {"extensions": {"EXT_texture_webp": {"source": 0}}})
    bare = maker.add("textures", {"sampler": 0})
    table = TextureTable(GltfFile(maker.save(tmp_path)))
    assert table.add({"index": webp}) == 0
    assert table.add({"index": bare}) == -1


def test_large_textures_are_halved(tmp_path: Path) -> None:
    maker = GltfMaker()
    pixels = np.zeros((2, 4 * TEXTURE_MAX, 3), np.uint8)
    pixels[:, ::2] = 255
    _, table = read(maker, {"emissiveTexture": {"index": maker.texture(pixels)}}, tmp_path)
    assert table.textures[0].pixels.shape == (1, TEXTURE_MAX, 4)
    assert np.ptp(table.textures[0].pixels[..., 0]) == 0  # averaged, not picked


@pytest.mark.parametrize(("srgb", "linear"), [(0.0, 0.0), (0.04045, 0.0031308), (0.5, 0.2140411), (0.7353569, 0.5), (1.0, 1.0)])
def test_to_linear(srgb: float, linear: float) -> None:
    np.testing.assert_allclose(to_linear(np.array([srgb])), [linear], atol=1e-6)


# texture coordinates


def coordinates(folder: Path, reference: dict[str, Any] | None, **attributes: ArrayLike) -> np.ndarray:
    """The coordinates of a reference into three vertices."""
    maker = GltfMaker()
    table = {name: maker.accessor(np.asarray(v)) for name, v in attributes.items()}
    return texture_coordinates(GltfFile(maker.save(folder)), table, reference, 3)


UV = floats([(0, 0), (1, 0), (0.25, 0.5)])


def test_plain_coordinates(tmp_path: Path) -> None:
    np.testing.assert_allclose(coordinates(tmp_path, {"index": 0}, TEXCOORD_0=UV), UV)


def test_second_channel(tmp_path: Path) -> None:
    np.testing.assert_allclose(coordinates(tmp_path, {"index": 0, "texCoord": 1}, TEXCOORD_0=0 * UV, TEXCOORD_1=UV), UV)


def test_none_without_reference_or_channel(tmp_path: Path) -> None:
    assert not coordinates(tmp_path, None, TEXCOORD_0=UV + 1).any()
    assert not coordinates(tmp_path, {"index": 0, "texCoord": 1}, TEXCOORD_0=UV + 1).any()


def transformed(folder: Path, **transform: Any) -> np.ndarray:
    """The coordinates under KHR_texture_transform."""
    return coordinates(folder, {"index": 0, "extensions": {"KHR_texture_transform": transform}}, TEXCOORD_0=UV, TEXCOORD_1=1 - UV)


def test_transform_offset_and_scale(tmp_path: Path) -> None:
    np.testing.assert_allclose(transformed(tmp_path, offset=[0.5, 0.25], scale=[2, 4]), UV * (2, 4) + (0.5, 0.25))


def test_transform_turns_counter_clockwise_in_the_image(tmp_path: Path) -> None:
    # v grows downwards, so that counter-clockwise takes +u to -v; scale comes before, the offset after
    found = transformed(tmp_path, rotation=math.pi / 2, scale=[2, 1], offset=[0, 1])
    np.testing.assert_allclose(found, [(0, 1), (0, -1), (0.5, 0.5)], atol=1e-9)


def test_transform_may_choose_the_channel(tmp_path: Path) -> None:
    np.testing.assert_allclose(transformed(tmp_path, texCoord=1), 1 - UV)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_damaged_coordinates_become_finite(tmp_path: Path, bad: float) -> None:
    uv = UV.copy()
    uv[1, 0] = bad
    assert np.isfinite(coordinates(tmp_path, {"index": 0}, TEXCOORD_0=uv).astype(np.float32)).all()


# in a model


def test_model_gathers_materials_and_coordinates(tmp_path: Path) -> None:
    maker = GltfMaker()
    base, glow = maker.texture([[(255, 0, 0)]]), maker.texture([[(0, 255, 0)]])
    fields = {"pbrMetallicRoughness": {"baseColorTexture": {"index": base}}, "emissiveTexture": {"index": glow, "texCoord": 1}}
    textured = maker.add("materials", fields)
    one, two = floats([(0, 0)] * 4) + 0.25, floats([(0, 0)] * 4) + 0.75
    maker.node(mesh=maker.mesh(SQUARE, SQUARE_FACES, TEXCOORD_0=one, TEXCOORD_1=two, material=textured))
    maker.node(mesh=maker.mesh(SQUARE, SQUARE_FACES))
    surface = GltfModel(maker.save(tmp_path)).surface
    assert len(surface.materials) == 2
    order = surface.face_materials[::2].tolist()
    assert sorted(order) == [0, 1]  # the second mesh takes the default material, which comes last
    assert surface.materials[1] == Material(metallic=1.0)
    assert (surface.materials[0].texture, surface.materials[0].emissive_texture) == (0, 1)
    rows = slice(4 * order.index(0), 4 * order.index(0) + 4)
    assert surface.uvs[rows].tolist() == [[0.25, 0.25, 0.75, 0.75]] * 4


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (floats([(0.1, 0.2, 0.3)] * 4), (0.1, 0.2, 0.3, 1)),
        (floats([(0.1, 0.2, 0.3, 0.4)] * 4), (0.1, 0.2, 0.3, 0.4)),
        (floats([(np.nan, 0.2, 0.3, 0.4)] * 4), (1, 0.2, 0.3, 0.4)),
    ],
)
def test_vertex_colours(tmp_path: Path, given: np.ndarray, expected: tuple[float, ...]) -> None:
    maker = GltfMaker()
    maker.node(mesh=maker.mesh(SQUARE, SQUARE_FACES, COLOR_0=given))
    np.testing.assert_allclose(GltfModel(maker.save(tmp_path)).surface.colors, [expected] * 4, atol=1e-6)


def test_quantised_vertex_colours(tmp_path: Path) -> None:
    maker = GltfMaker()
    mesh = maker.mesh(SQUARE, SQUARE_FACES)
    colors = maker.accessor(np.array([(255, 51, 0, 102)] * 4, np.uint8), normalized=True)
    maker.json["meshes"][mesh]["primitives"][0]["attributes"]["COLOR_0"] = colors
    maker.node(mesh=mesh)
    np.testing.assert_allclose(GltfModel(maker.save(tmp_path)).surface.colors, [(1, 0.2, 0, 0.4)] * 4, atol=1e-6)


@pytest.mark.parametrize(
    "transform",
    [{"scale": [1e308, 1e308]}, {"offset": [math.inf, 0]}, {"rotation": math.inf}, {"rotation": math.nan}, {"scale": [1e30, 1]}],
)
def test_a_transform_cannot_make_coordinates_that_are_not_finite(tmp_path: Path, transform: dict[str, Any]) -> None:
    """The mesh rasteriser once turned them into negative indices of texels."""
    found = transformed(tmp_path, **transform)
    assert np.isfinite(found.astype(np.float32)).all()
    assert np.abs(found).max() <= 1e6


# parts


def test_parts_of_skins_are_the_joints_that_move_them(tmp_path: Path) -> None:
    surface = GltfModel(two_joint_strip().save(tmp_path)).surface
    assert surface.parts == (Part(0, 0, 1), Part(0, 0, 2))
    assert surface.face_parts is not None
    assert surface.face_parts.tolist() == [0, 0, 1, 1]


def test_parts_of_rigid_meshes_are_nodes_and_primitives(tmp_path: Path) -> None:
    maker = GltfMaker()
    mesh = maker.mesh(SQUARE, SQUARE_FACES)
    maker.json["meshes"][mesh]["primitives"] *= 2
    for _ in range(2):
        maker.node(mesh=mesh)
    surface = GltfModel(maker.save(tmp_path)).surface
    assert set(surface.parts) == {Part(node, primitive, node) for node in (0, 1) for primitive in (0, 1)}
    assert surface.face_parts is not None
    assert surface.face_parts.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
