"""glTF containers and accessors: what is decoded, and what is refused."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronosplat.assets.gltf import GltfFile
from chronosplat.assets.model import GltfModel
from chronosplat.shapes import InputError
from tests.assets.gltf_maker import SQUARE, SQUARE_FACES, GltfMaker, floats, pack, png, two_joint_strip


def square() -> GltfMaker:
    """A file of one square."""
    maker = GltfMaker()
    maker.node(mesh=maker.mesh(SQUARE, SQUARE_FACES))
    return maker


def opened(maker: GltfMaker, folder: Path) -> GltfFile:
    """The saved file, opened."""
    return GltfFile(maker.save(folder))


def refusal(path: Path) -> str:
    """The message with which a model is refused; it must be one line that names the file."""
    with pytest.raises(InputError) as caught:
        GltfModel(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def written(folder: Path, data: bytes, name: str = "model.glb") -> Path:
    """A file of the given bytes."""
    path = folder / name
    path.write_bytes(data)
    return path


# containers


def test_missing_file(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "absent.glb")


@pytest.mark.parametrize("size", [4, 12, 19])
def test_header_truncated(tmp_path: Path, size: int) -> None:
    assert "truncated: shorter than a GLB header" in refusal(written(tmp_path, square().glb()[:size]))


@pytest.mark.parametrize("missing", [1, 40, 300])
def test_file_cut_short_names_both_lengths(tmp_path: Path, missing: int) -> None:
    data = square().glb()
    message = refusal(written(tmp_path, data[:-missing]))
    assert f"promises {len(data)} bytes, the file has {len(data) - missing}" in message


def test_chunk_past_the_end(tmp_path: Path) -> None:
    data = bytearray(square().glb())
    struct.pack_into("<I", data, 12, len(data))  # the length of the first chunk
    assert "a chunk runs past the end" in refusal(written(tmp_path, bytes(data)))


def test_glb_version_one(tmp_path: Path) -> None:
    data = bytearray(square().glb())
    struct.pack_into("<I", data, 4, 1)
    assert "GLB version 1; expected 2" in refusal(written(tmp_path, bytes(data)))


def test_buffer_shorter_than_promised(tmp_path: Path) -> None:
    maker = square()
    maker.json["buffers"] = [{"byteLength": len(maker.binary) + 100}]
    assert f"truncated: buffer 0 has {len(maker.binary)} of {len(maker.binary) + 100} bytes" in refusal(maker.save(tmp_path))


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n" + b"\xff" * 40, b"solid cube", b"[1, 2]", b'"glTF"'])
def test_not_gltf(tmp_path: Path, data: bytes) -> None:
    assert "not a glTF file" in refusal(written(tmp_path, data, "thing.gltf"))


@pytest.mark.parametrize("document", [{}, {"asset": {}}, {"asset": {"version": "1.0"}}])
def test_not_version_two(tmp_path: Path, document: dict[str, Any]) -> None:
    assert "not a glTF 2.0 file" in refusal(written(tmp_path, pack(document, b"")))


def test_glb_without_chunks(tmp_path: Path) -> None:
    data = b"glTF" + struct.pack("<II", 2, 20) + struct.pack("<II", 0, 0x004E4942)
    assert "not a glTF file" in refusal(written(tmp_path, data))


def test_unsupported_required_extension_is_named(tmp_path: Path) -> None:
    maker = square()
    maker.json["extensionsRequired"] = ["KHR_materials_unlit", "KHR_draco_mesh_compression"]
    message = refusal(maker.save(tmp_path))
    assert "KHR_draco_mesh_compression" in message
    assert "KHR_materials_unlit" not in message


def test_supported_and_optional_extensions_open(tmp_path: Path) -> None:
    maker = square()
    maker.json["extensionsRequired"] = ["KHR_mesh_quantization"]
    maker.json["extensionsUsed"] = ["KHR_mesh_quantization", "VENDOR_anything"]
    assert len(GltfModel(maker.save(tmp_path)).vertices(0)[0]) == 4


def test_unknown_chunk_is_passed_over(tmp_path: Path) -> None:
    data = square().glb() + struct.pack("<II", 4, 0x12345678) + b"abcd"
    data = data[:8] + struct.pack("<I", len(data)) + data[12:]
    assert len(GltfModel(written(tmp_path, data)).vertices(0)[0]) == 4


# buffers elsewhere


def loose(maker: GltfMaker, uri: str) -> bytes:
    """The JSON form with its buffer at a URI."""
    return json.dumps({**maker.document(), "buffers": [{"byteLength": len(maker.binary), "uri": uri}]}).encode()


def test_buffer_in_a_data_uri(tmp_path: Path) -> None:
    maker = square()
    uri = "data:application/octet-stream;base64," + base64.b64encode(maker.binary).decode()
    model = GltfModel(written(tmp_path, loose(maker, uri), "model.gltf"))
    assert np.array_equal(model.vertices(0)[0], SQUARE)


def test_buffer_in_a_file_beside_with_a_space(tmp_path: Path) -> None:
    maker = square()
    written(tmp_path, maker.binary, "two words.bin")
    model = GltfModel(written(tmp_path, loose(maker, "two%20words.bin"), "model.gltf"))
    assert np.array_equal(model.vertices(0)[0], SQUARE)


def test_missing_file_beside_is_named(tmp_path: Path) -> None:
    assert "needs parts.bin beside it" in refusal(written(tmp_path, loose(square(), "parts.bin"), "model.gltf"))


def test_images_embedded_beside_and_inline(tmp_path: Path) -> None:
    maker, pixels = square(), np.array([[(255, 0, 0, 255), (0, 255, 0, 128)]], np.uint8)
    written(tmp_path, png(pixels), "image.png")
    maker.add("images", {"bufferView": maker.view(png(pixels))})
    maker.add("images", {"uri": "image.png"})
    maker.add("images", {"uri": "data:image/png;base64," + base64.b64encode(png(pixels)).decode()})
    file = opened(maker, tmp_path)
    for index in range(3):
        assert np.array_equal(np.asarray(file.image(index)), pixels)


def test_image_that_is_none(tmp_path: Path) -> None:
    maker = square()
    maker.add("images", {"bufferView": maker.view(b"not a picture")})
    with pytest.raises(InputError, match="image 0 cannot be decoded"):
        opened(maker, tmp_path).image(0)


# accessors


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "uint32", "float32"])
def test_every_component_type_and_width(tmp_path: Path, dtype: str, width: int) -> None:
    values = np.random.default_rng(width).integers(0, 100, (5, width)).astype(dtype)
    maker = GltfMaker()
    index = maker.accessor(values)
    read = opened(maker, tmp_path).accessor(index)
    assert read.dtype == np.dtype(dtype)
    assert np.array_equal(read, values)


@pytest.mark.parametrize(
    ("dtype", "values", "expected"),
    [
        ("int8", [-128, -127, 0, 127], [-1, -1, 0, 1]),
        ("uint8", [0, 51, 255], [0, 0.2, 1]),
        ("int16", [-32768, -32767, 32767], [-1, -1, 1]),
        ("uint16", [0, 13107, 65535], [0, 0.2, 1]),
    ],
)
def test_normalised_integers(tmp_path: Path, dtype: str, values: list[int], expected: list[float]) -> None:
    maker = GltfMaker()
    index = maker.accessor(np.array(values, dtype), normalized=True)
    read = opened(maker, tmp_path).accessor(index)
    assert read.dtype == np.float32
    np.testing.assert_allclose(read[:, 0], expected, atol=1e-7)


def test_normalised_flag_on_floats_changes_nothing(tmp_path: Path) -> None:
    maker = GltfMaker()
    index = maker.accessor(floats([-3, 7.5]), normalized=True)
    assert opened(maker, tmp_path).accessor(index)[:, 0].tolist() == [-3, 7.5]


def test_strided_interleaved_views(tmp_path: Path) -> None:
    rng, maker = np.random.default_rng(0), GltfMaker()
    rows = np.zeros(6, [("pad", "<u4"), ("position", "<f4", 3), ("color", "u1", 4)])
    rows["position"], rows["color"] = rng.normal(size=(6, 3)), rng.integers(0, 255, (6, 4))
    view = maker.view(rows.tobytes(), byteStride=rows.itemsize)
    position = maker.add("accessors", {"bufferView": view, "byteOffset": 4, "componentType": 5126, "count": 6, "type": "VEC3"})
    color = maker.add("accessors", {"bufferView": view, "byteOffset": 16, "componentType": 5121, "count": 6, "type": "VEC4"})
    file = opened(maker, tmp_path)
    assert np.array_equal(file.accessor(position), rows["position"])
    assert np.array_equal(file.accessor(color), rows["color"])


def sparse(maker: GltfMaker, indices: list[int], values: np.ndarray) -> dict[str, Any]:
    """The sparse part of an accessor."""
    where = {"bufferView": maker.view(np.array(indices, np.uint16).tobytes()), "componentType": 5123}
    return {"count": len(indices), "indices": where, "values": {"bufferView": maker.view(floats(values).tobytes())}}


@pytest.mark.parametrize("with_base", [True, False])
def test_sparse_accessors(tmp_path: Path, with_base: bool) -> None:
    rng, maker = np.random.default_rng(1), GltfMaker()
    base = floats(rng.normal(size=(8, 3))) if with_base else np.zeros((8, 3), np.float32)
    changed = floats(rng.normal(size=(3, 3)))
    part = sparse(maker, [1, 4, 7], changed)
    plain = {"componentType": 5126, "count": 8, "type": "VEC3", "sparse": part}
    index = maker.accessor(base, sparse=part) if with_base else maker.add("accessors", plain)
    expected = base.copy()
    expected[[1, 4, 7]] = changed
    assert np.array_equal(opened(maker, tmp_path).accessor(index), expected)


def test_sparse_does_not_write_into_accessors_that_share_the_view(tmp_path: Path) -> None:
    maker = GltfMaker()
    plain = maker.accessor(floats([[1], [2]]))
    shared = maker.add("accessors", {**maker.json["accessors"][plain], "sparse": sparse(maker, [0], floats([[9]]))})
    file = opened(maker, tmp_path)
    assert file.accessor(shared)[:, 0].tolist() == [9, 2]
    assert file.accessor(plain)[:, 0].tolist() == [1, 2]


def test_sparse_index_outside_is_refused(tmp_path: Path) -> None:
    maker = GltfMaker()
    index = maker.accessor(floats([[1], [2]]), sparse=sparse(maker, [5], floats([[9]])))
    with pytest.raises(InputError, match="accessor 0 is damaged"):
        opened(maker, tmp_path).accessor(index)


@pytest.mark.parametrize("change", [{"count": 5}, {"byteOffset": 4}, {"type": "VEC4"}])
def test_accessor_past_its_view(tmp_path: Path, change: dict[str, Any]) -> None:
    maker = GltfMaker()
    index = maker.accessor(floats(np.zeros((4, 3))), **change)
    with pytest.raises(InputError, match="an accessor runs past the end of buffer view 0"):
        opened(maker, tmp_path).accessor(index)


@pytest.mark.parametrize("change", [{"componentType": 5130}, {"type": "VEC5"}, {"bufferView": 7}])
def test_accessor_that_makes_no_sense(tmp_path: Path, change: dict[str, Any]) -> None:
    maker = GltfMaker()
    index = maker.accessor(floats(np.zeros((4, 3))), **change)
    with pytest.raises(InputError, match="accessor 0 is damaged"):
        opened(maker, tmp_path).accessor(index)


def test_finite_counts_what_is_not(tmp_path: Path) -> None:
    maker = GltfMaker()
    index = maker.accessor(floats([(1, np.nan), (np.inf, -np.inf)]))
    with pytest.raises(InputError, match="the thing holds 3 NaN or infinite values"):
        opened(maker, tmp_path).finite(index, "the thing")


def test_accessors_are_read_once(tmp_path: Path) -> None:
    file = opened(square(), tmp_path)
    assert file.accessor(0) is file.accessor(0)


@given(st.binary(max_size=200))
def test_random_bytes_never_crash(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "noise.glb"
    for data in (noise, b"glTF" + struct.pack("<II", 2, 12 + len(noise)) + noise):
        path.write_bytes(data)
        with pytest.raises(InputError):
            GltfModel(path)


# geometry and animation that are not numbers


def test_nan_positions_are_counted(tmp_path: Path) -> None:
    maker, bad = GltfMaker(), SQUARE.copy()
    bad[1, 2], bad[3, 0] = np.nan, np.inf
    maker.node(mesh=maker.mesh(bad, SQUARE_FACES))
    assert "POSITION holds 2 NaN or infinite values" in refusal(maker.save(tmp_path))


@pytest.mark.parametrize(
    ("keys", "values", "message"),
    [
        ([0, np.nan], [(0, 0, 0), (1, 0, 0)], "an animation's key times holds 1 NaN"),
        ([0, 1], [(0, 0, 0), (np.nan, np.nan, 0)], "an animation's values holds 2 NaN"),
    ],
)
def test_nan_animation_is_counted(tmp_path: Path, keys: list[float], values: list[tuple[float, ...]], message: str) -> None:
    maker = square()
    maker.animation("move", (0, "translation", keys, values, "LINEAR"))
    assert message in refusal(maker.save(tmp_path))


def test_missing_clip_lists_the_names(tmp_path: Path) -> None:
    maker = square()
    for name in ("Walk", "Run", None):
        maker.animation(name, (0, "translation", [0, 1], [(0, 0, 0), (1, 0, 0)], "LINEAR"))
    path = maker.save(tmp_path)
    for clip in ("Fly", 3, -1):
        with pytest.raises(InputError) as caught:
            GltfModel(path, clip)
        assert f"no clip {clip!r}; it has 3: Walk, Run, anim2" in str(caught.value)


def test_a_clip_of_a_static_model(tmp_path: Path) -> None:
    path = square().save(tmp_path)
    assert GltfModel(path).duration == 0
    with pytest.raises(InputError, match=r"no clip 'Walk'; it has 0: none"):
        GltfModel(path, "Walk")


# references


@pytest.mark.parametrize("children", [{0: [1], 1: [0]}, {0: [0]}, {0: [1, 1]}, {0: [1, 2], 1: [2]}])
def test_node_cycles_and_shared_children(tmp_path: Path, children: dict[int, list[int]]) -> None:
    maker = square()
    maker.node()
    maker.node()
    for index, below in children.items():
        maker.json["nodes"][index]["children"] = below
    maker.json["scenes"] = [{"nodes": [0]}]
    assert "is its own ancestor, or a child twice" in refusal(maker.save(tmp_path))


def full() -> GltfMaker:
    """A file that uses every kind of reference."""
    maker = two_joint_strip()
    texture = maker.texture([[(255, 0, 0)]])
    material = maker.add("materials", {"pbrMetallicRoughness": {"baseColorTexture": {"index": texture}}})
    maker.json["meshes"][0]["primitives"][0]["material"] = material
    maker.json["scene"] = 0
    return maker


REFERENCES = [
    ("scene",),
    ("scenes", 0, "nodes", 0),
    ("nodes", 1, "children", 0),
    ("nodes", 0, "mesh"),
    ("nodes", 0, "skin"),
    ("skins", 0, "joints", 1),
    ("skins", 0, "inverseBindMatrices"),
    ("meshes", 0, "primitives", 0, "material"),
    ("meshes", 0, "primitives", 0, "indices"),
    ("meshes", 0, "primitives", 0, "attributes", "POSITION"),
    ("meshes", 0, "primitives", 0, "attributes", "WEIGHTS_0"),
    ("accessors", 0, "bufferView"),
    ("bufferViews", 0, "buffer"),
    ("materials", 0, "pbrMetallicRoughness", "baseColorTexture", "index"),
    ("textures", 0, "source"),
    ("images", 0, "bufferView"),
    ("animations", 0, "channels", 0, "sampler"),
    ("animations", 0, "channels", 0, "target", "node"),
    ("animations", 0, "samplers", 0, "input"),
    ("animations", 0, "samplers", 0, "output"),
]


def test_the_full_file_is_sound(tmp_path: Path) -> None:
    assert np.isfinite(GltfModel(full().save(tmp_path)).vertices(0.5)[0]).all()


@pytest.mark.parametrize("where", REFERENCES, ids=lambda w: "-".join(map(str, w)))
def test_dangling_references_are_refused_at_the_door(tmp_path: Path, where: tuple[Any, ...]) -> None:
    maker = full()
    document = maker.document()
    at: Any = document
    for key in where[:-1]:
        at = at[key]
    assert where[-1] in at or isinstance(where[-1], int)
    at[where[-1]] = 99
    refusal(written(tmp_path, pack(document, maker.binary)))


def test_a_face_beyond_the_vertices(tmp_path: Path) -> None:
    maker = GltfMaker()
    maker.node(mesh=maker.mesh(SQUARE, [0, 1, 4]))
    assert "a face uses vertex 4 of 4" in refusal(maker.save(tmp_path))


def test_a_joint_beyond_the_skin(tmp_path: Path) -> None:
    maker = two_joint_strip()
    maker.json["skins"][0]["joints"] = [1]
    assert "a vertex uses joint 1 of 1" in refusal(maker.save(tmp_path))


@pytest.mark.parametrize("attribute", ["NORMAL", "JOINTS_0", "WEIGHTS_0", "COLOR_0"])
def test_attributes_of_another_length_are_refused(tmp_path: Path, attribute: str) -> None:
    maker = two_joint_strip()
    short = np.zeros((5, 4), np.uint8) if attribute == "JOINTS_0" else np.ones((5, 3 if attribute == "NORMAL" else 4), np.float32)
    maker.json["meshes"][0]["primitives"][0]["attributes"][attribute] = maker.accessor(short)
    refusal(maker.save(tmp_path))


def test_texture_coordinates_of_another_length_are_refused(tmp_path: Path) -> None:
    maker = GltfMaker()
    reference = {"index": maker.texture([[(255, 0, 0)]])}
    material = maker.add("materials", {"pbrMetallicRoughness": {"baseColorTexture": reference}, "emissiveTexture": reference})
    maker.node(mesh=maker.mesh(SQUARE, SQUARE_FACES, TEXCOORD_0=np.zeros((2, 2), np.float32), material=material))
    refusal(maker.save(tmp_path))


@pytest.mark.parametrize(
    ("node", "fields"), [(1, {"translation": [1, 2]}), (1, {"rotation": "up"}), (1, {"matrix": [1, 0, 0]}), (1, {"children": "all"})]
)
def test_damaged_nodes_are_refused(tmp_path: Path, node: int, fields: dict[str, Any]) -> None:
    maker = two_joint_strip()
    maker.json["nodes"][node].update(fields)
    refusal(maker.save(tmp_path))


def test_animation_values_that_do_not_match_the_keys_are_refused(tmp_path: Path) -> None:
    maker = square()
    maker.animation("odd", (0, "translation", [0, 1, 2], [(0, 0, 0), (1, 0, 0)], "LINEAR"))
    refusal(maker.save(tmp_path))


def test_animation_without_keys_is_refused(tmp_path: Path) -> None:
    maker = square()
    maker.animation("empty", (0, "translation", np.zeros((0, 1)), np.zeros((0, 3)), "LINEAR"))
    refusal(maker.save(tmp_path))


def test_fewer_inverse_bind_matrices_than_joints_are_refused(tmp_path: Path) -> None:
    maker = two_joint_strip()
    maker.json["skins"][0]["inverseBindMatrices"] = maker.accessor(floats(np.eye(4).reshape(1, 16)))
    refusal(maker.save(tmp_path))


def test_an_inline_image_that_is_not_base64_is_refused(tmp_path: Path) -> None:
    maker = full()
    maker.json["images"][0] = {"uri": "data:image/png;base64,abc"}
    refusal(maker.save(tmp_path))


@pytest.mark.parametrize("mode", [0, 1, 3])
def test_points_and_lines_are_nothing_to_render(tmp_path: Path, mode: int) -> None:
    maker = GltfMaker()
    maker.node(mesh=maker.mesh(SQUARE, mode=mode))
    assert "has no triangles to render" in refusal(maker.save(tmp_path))


def test_a_primitive_of_no_triangles_is_nothing_to_render(tmp_path: Path) -> None:
    maker = GltfMaker()
    maker.node(mesh=maker.mesh(SQUARE[:2]))
    assert "has no triangles to render" in refusal(maker.save(tmp_path))
