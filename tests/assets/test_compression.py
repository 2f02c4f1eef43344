"""Draco, meshopt and Basis in glTF files."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chronosplat.assets.model import GltfModel
from chronosplat.shapes import UnavailableError
from tests.assets.gltf_kit import opened, refusal, square
from tests.assets.gltf_maker import SQUARE, SQUARE_FACES, GltfMaker, floats, two_joint_strip

DRACO = "KHR_draco_mesh_compression"


def draco_strip(**changes: Any) -> GltfMaker:
    """The strip of two joints with its geometry in a Draco mesh; the accessors have no data of their own."""
    draco = pytest.importorskip("DracoPy")
    maker = two_joint_strip()
    file_attributes = maker.json["meshes"][0]["primitives"][0]["attributes"]
    columns = {name: decoded(maker, index) for name, index in file_attributes.items() if name != "POSITION"}
    ids = {name: 10 + k for k, name in enumerate(columns)}
    faces = decoded(maker, maker.json["meshes"][0]["primitives"][0]["indices"]).reshape(-1, 3).astype(np.uint32)
    packed = draco.encode(
        decoded(maker, file_attributes["POSITION"]),
        faces,
        quantization_bits=20,
        preserve_order=True,
        generic_attributes={ids[name]: np.ascontiguousarray(column) for name, column in columns.items()},
    )
    positions = draco.decode(packed).attributes
    ids["POSITION"] = next(a["unique_id"] for a in positions if a["unique_id"] not in ids.values())
    primitive = maker.json["meshes"][0]["primitives"][0]
    for index in (*file_attributes.values(), primitive["indices"]):
        del maker.json["accessors"][index]["bufferView"]
    primitive["extensions"] = {DRACO: {"bufferView": maker.view(packed), "attributes": ids, **changes}}
    maker.json["extensionsRequired"] = [DRACO]
    return maker


def decoded(maker: GltfMaker, index: int) -> np.ndarray:
    """The elements of one of the maker's accessors."""
    accessor = maker.json["accessors"][index]
    view = maker.json["bufferViews"][accessor["bufferView"]]
    width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}[accessor["type"]]
    kind = {5121: np.uint8, 5123: np.uint16, 5126: np.float32}[accessor["componentType"]]
    data = maker.binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
    return np.frombuffer(data, kind).reshape(-1, width)


def meshopt_square(stream: str = "ATTRIBUTES", extension: str = "EXT_meshopt_compression", **changes: Any) -> GltfMaker:
    """The square with its positions (or its indices) compressed; the buffer view's own bytes are a fallback that is absent."""
    meshopt = pytest.importorskip("meshopt")
    maker = square()
    view = maker.json["bufferViews"][0 if stream == "ATTRIBUTES" else 1]
    rows = floats(SQUARE) if stream == "ATTRIBUTES" else SQUARE_FACES
    packed = meshopt.encode_gltf_buffer(rows, stream, version=int(extension.startswith("KHR")))
    start = len(maker.binary)
    maker.binary += packed + b"\0" * (-len(packed) % 4)
    stride = rows.nbytes // len(rows)
    facts = {"buffer": 0, "byteOffset": start, "byteLength": len(packed), "byteStride": stride, "count": len(rows), "mode": stream}
    view |= {"buffer": 1, "byteOffset": 0, "extensions": {extension: facts | changes}}
    maker.json["extensionsRequired"] = [extension]
    maker.json["buffers"] = [{"byteLength": len(maker.binary)}, {"byteLength": rows.nbytes, "extensions": {extension: {"fallback": True}}}]
    return maker


def test_draco_equals_the_plain_file(tmp_path: Path) -> None:
    model, plain = GltfModel(draco_strip().save(tmp_path)), GltfModel(two_joint_strip().save(tmp_path, "plain.glb"))
    assert model.surface.faces.tolist() == plain.surface.faces.tolist()
    for t in (0.0, 0.4, 1.0):
        for found, expected in zip(model.vertices(t), plain.vertices(t), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-5)


def test_normalised_draco_attributes(tmp_path: Path) -> None:
    draco = pytest.importorskip("DracoPy")
    maker, colors = GltfMaker(), np.array([(255, 0, 51, 255)] * 4, np.uint8)
    mesh = maker.mesh(SQUARE, SQUARE_FACES, COLOR_0=colors, NORMAL=floats([(0, 0, 1)] * 4))
    primitive = maker.json["meshes"][mesh]["primitives"][0]
    packed = draco.encode(SQUARE, SQUARE_FACES.reshape(-1, 3).astype(np.uint32), preserve_order=True, generic_attributes={7: colors})
    maker.json["accessors"][primitive["attributes"]["COLOR_0"]]["normalized"] = True
    primitive["extensions"] = {DRACO: {"bufferView": maker.view(packed), "attributes": {"COLOR_0": 7}}}
    maker.node(mesh=mesh)
    np.testing.assert_allclose(GltfModel(maker.save(tmp_path)).surface.colors, [(1, 0, 0.2, 1)] * 4, atol=1e-6)


@pytest.mark.parametrize("changes", [{"attributes": {"POSITION": 99}}, {"attributes": {"COLOR_7": 10}}, {"bufferView": 0}])
def test_damaged_draco_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert "damaged" in refusal(draco_strip(**changes).save(tmp_path))


def test_draco_of_another_count_is_refused(tmp_path: Path) -> None:
    maker = draco_strip()
    maker.json["accessors"][maker.json["meshes"][0]["primitives"][0]["attributes"]["POSITION"]]["count"] = 7
    assert "POSITION has shape [6, 3]; the accessor states [7, 3]" in refusal(maker.save(tmp_path))


@pytest.mark.parametrize("extension", ["EXT_meshopt_compression", "KHR_meshopt_compression"])
@pytest.mark.parametrize("mode", ["ATTRIBUTES", "TRIANGLES", "INDICES"])
def test_meshopt_equals_the_plain_file(tmp_path: Path, mode: str, extension: str) -> None:
    model = GltfModel(meshopt_square(mode, extension).save(tmp_path))
    assert np.array_equal(model.vertices(0)[0], SQUARE)
    turns = [face[k:] + face[:k] for face in ([0, 1, 2], [0, 2, 3]) for k in range(3)]  # triangles may begin at another corner
    assert all(face in turns for face in model.surface.faces.tolist())


def test_meshopt_filters_are_undone(tmp_path: Path) -> None:
    meshopt = pytest.importorskip("meshopt")
    rows = floats([(1, 2.5, -3), (0, 0.125, 64)])
    packed = meshopt.encode_gltf_buffer(meshopt.encode_filter_exp(rows, 20), "ATTRIBUTES")
    maker = GltfMaker()
    index = maker.accessor(rows)
    facts = {"buffer": 0, "byteOffset": len(maker.binary), "byteLength": len(packed), "byteStride": 12, "count": 2}
    maker.binary += packed
    view = maker.json["bufferViews"][0]
    view["extensions"] = {"EXT_meshopt_compression": facts | {"mode": "ATTRIBUTES", "filter": "EXPONENTIAL"}}
    np.testing.assert_allclose(opened(maker, tmp_path).accessor(index), rows, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": 5}, "has 5 x 12 bytes of 'ATTRIBUTES', 'NONE' for a length of 48"),
        ({"mode": "POINTS"}, "bytes of 'POINTS'"),
        ({"filter": "SHARP"}, "'SHARP'"),
        ({"byteLength": 10**9}, "the compressed buffer view 0 runs past the end of its buffer"),
        ({"byteLength": 3}, "cannot be decompressed"),
        ({"byteOffset": 0}, "cannot be decompressed"),
    ],
)
def test_damaged_meshopt_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    assert message in refusal(meshopt_square("ATTRIBUTES", **changes).save(tmp_path))


def test_a_meshopt_bomb_is_refused_before_it_is_decompressed(tmp_path: Path) -> None:
    maker, count = meshopt_square("ATTRIBUTES", count=10**7), 10**7
    maker.json["bufferViews"][0]["byteLength"] = 12 * count
    assert "more than its" in refusal(maker.save(tmp_path))


# a texture of 8 x 8 texels: the left half red, the right half blue, its lower half transparent to a quarter; made by Binomial's encoder
BASIS = {
    "ETC1S": "t4mZ^ATlt!4GJ0x000000RR912mk;82mk;800000000000RR910RR910RR91XaE2JJOBUyqyPW_Bme*a$N&HU00000lmGw#00000Tmb+8000001ONa400000"
    "0000000000JOBUy000000suGwqX7Z{0|Nj62nYZG00000002J#0000000000|NsC0Kmb1v0000000000|NsC09{>OVOH^2Qa%psBasWbMb7^xRRc>i^WpZ<2"
    "Y#=f&F)#oC1ONj7F#rGn4FCWDE&u=k0000000000000000ssI20ssI20ssI29>A1<0RR915SD^nkpWBu0000003aJOfT#fj0001xq?iL3022TL0000$P;3C<"
    "cLV?c0H~^}s!~-|RRz?*L;wH)0001zDjESW0U!VX004j}2@oMb0000GggK!J1^^QP0000000<xe8Uw8d",
    "UASTC": "t4mZ^ATlt!4GJ0x000000RR912mk;82mk;800000000000RR910RR9100000XaE2JEC2uilmGw#EC2ui00000000000000000000zyJUM00000KmY&$00000"
    "KmY&$00000EC2ui000000strgrU3!~0|Nj65C8xG00000004gj0000000000|NsC09{>OVOH^2Qa%psBasWbMb7^xRRc>i^WpZ<2Y#=f&F)#oC1ONa4e}4b~"
    "7a4`(KeYn@0000000000mx71(e-x(z00000000007a4`(KeYn@0000000000mx6~DXcVUc0000000000",
}


def basis_square(data: bytes | None = None) -> GltfMaker:
    """The square with a texture that has a Basis image alone."""
    pytest.importorskip("opengl_basisu")
    maker = square()
    image = maker.add("images", {"bufferView": maker.view(base64.b85decode(BASIS["ETC1S"]) if data is None else data)})
    texture = maker.add("textures", {"extensions": {"KHR_texture_basisu": {"source": image}}})
    maker.add("materials", {"pbrMetallicRoughness": {"baseColorTexture": {"index": texture}}})
    maker.json["extensionsRequired"] = ["KHR_texture_basisu"]
    return maker


@pytest.mark.parametrize(("module", "make"), [("DracoPy", draco_strip), ("meshopt", meshopt_square), ("opengl_basisu", basis_square)])
def test_a_missing_decoder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, make: Any) -> None:
    path = make().save(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UnavailableError, match=rf"{module} is not installed; run: pip install 'chronosplat\[data\]'"):
        GltfModel(path)


@pytest.mark.parametrize("codec", BASIS)
def test_basis_textures_are_decoded(tmp_path: Path, codec: str) -> None:
    model = GltfModel(basis_square(base64.b85decode(BASIS[codec])).save(tmp_path))
    (texture,) = model.surface.textures
    expected = np.zeros((8, 8, 4), int)
    expected[:, :4], expected[:4, 4:], expected[4:, 4:] = (200, 40, 20, 255), (20, 60, 180, 255), (20, 60, 180, 64)
    assert np.abs(texture.pixels - expected).max() <= 5
    assert model.surface.materials[0].texture == 0


def test_another_image_comes_before_a_basis_one(tmp_path: Path) -> None:
    maker = basis_square(b"\xabKTX 20\xbb\r\n\x1a\n")
    maker.texture([[(255, 0, 0)]])
    maker.json["textures"][0]["source"] = 1
    assert GltfModel(maker.save(tmp_path)).surface.textures[0].pixels.tolist() == [[[255, 0, 0, 255]]]


@pytest.mark.parametrize("data", [b"\xabKTX 20\xbb\r\n\x1a\n" + b"\0" * 80, b"\xabKTX 20", b"sB" + b"\0" * 60])
def test_damaged_basis_textures_are_refused(tmp_path: Path, data: bytes) -> None:
    assert "image 0 cannot be decoded" in refusal(basis_square(data).save(tmp_path))


def test_a_basis_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    data = bytearray(base64.b85decode(BASIS["UASTC"]))
    data[96:104] = (2 * 10**9).to_bytes(8, "little")
    assert "it states 2000000000 bytes for 8 x 8 pixels" in refusal(basis_square(bytes(data)).save(tmp_path))


def test_a_basis_texture_of_too_many_pixels_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chronosplat.assets.gltf.PIXELS_MOST", 63)
    assert "8 x 8 pixels are more than 63" in refusal(basis_square().save(tmp_path))
