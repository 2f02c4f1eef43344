"""glTF containers and accessors: what is decoded, and what is refused."""

from __future__ import annotations

import base64
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chronosplat.assets.model import GltfModel
from chronosplat.shapes import InputError
from tests.assets.gltf_kit import loose, opened, refusal, sparse, square, written
from tests.assets.gltf_maker import SQUARE, GltfMaker, floats, pack, png


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
    maker.json["extensionsRequired"] = ["KHR_materials_unlit", "KHR_animation_pointer"]
    message = refusal(maker.save(tmp_path))
    assert "requires the unsupported extension KHR_animation_pointer; export without it" in message
    assert "KHR_materials_unlit" not in message


def test_supported_and_optional_extensions_open(tmp_path: Path) -> None:
    maker = square()
    maker.json["extensionsRequired"] = ["KHR_mesh_quantization"]
    maker.json["extensionsUsed"] = ["KHR_mesh_quantization", "VENDOR_anything"]
    assert len(GltfModel(maker.save(tmp_path)).vertices(0)[0]) == 4


def test_unknown_chunk_is_skipped(tmp_path: Path) -> None:
    data = square().glb() + struct.pack("<II", 4, 0x12345678) + b"abcd"
    data = data[:8] + struct.pack("<I", len(data)) + data[12:]
    assert len(GltfModel(written(tmp_path, data)).vertices(0)[0]) == 4


def test_buffer_in_a_data_uri(tmp_path: Path) -> None:
    maker = square()
    uri = "data:application/octet-stream;base64," + base64.b64encode(maker.binary).decode()
    model = GltfModel(written(tmp_path, loose(maker, uri), "model.gltf"))
    assert np.array_equal(model.vertices(0)[0], SQUARE)


def test_buffer_in_a_file_name_with_a_space(tmp_path: Path) -> None:
    maker = square()
    written(tmp_path, maker.binary, "two words.bin")
    model = GltfModel(written(tmp_path, loose(maker, "two%20words.bin"), "model.gltf"))
    assert np.array_equal(model.vertices(0)[0], SQUARE)


def test_missing_buffer_file_is_named(tmp_path: Path) -> None:
    assert "needs parts.bin in the same folder" in refusal(written(tmp_path, loose(square(), "parts.bin"), "model.gltf"))


def test_images_embedded_external_and_inline(tmp_path: Path) -> None:
    maker, pixels = square(), np.array([[(255, 0, 0, 255), (0, 255, 0, 128)]], np.uint8)
    written(tmp_path, png(pixels), "image.png")
    maker.add("images", {"bufferView": maker.view(png(pixels))})
    maker.add("images", {"uri": "image.png"})
    maker.add("images", {"uri": "data:image/png;base64," + base64.b64encode(png(pixels)).decode()})
    file = opened(maker, tmp_path)
    for index in range(3):
        assert np.array_equal(np.asarray(file.image(index)), pixels)


def test_undecodable_image(tmp_path: Path) -> None:
    maker = square()
    maker.add("images", {"bufferView": maker.view(b"not a image")})
    with pytest.raises(InputError, match="image 0 cannot be decoded"):
        opened(maker, tmp_path).image(0)


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
