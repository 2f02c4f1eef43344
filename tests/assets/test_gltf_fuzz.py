"""No file crashes the reader: damaged ones raise InputError, and what a file costs is bounded by its size."""

from __future__ import annotations

import json
import time
import tracemalloc
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chronosplat.assets.gltf import GltfFile
from chronosplat.assets.model import GltfModel
from chronosplat.events import Events
from chronosplat.shapes import InputError, UnavailableError
from tests.assets.gltf_kit import full, loose, refusal, square, written
from tests.assets.gltf_maker import SQUARE, SQUARE_FACES, GltfMaker, floats, pack
from tests.assets.test_compression import basis_square, draco_strip, meshopt_square
from tests.assets.test_instancing import flower

MEMORY_MOST = 64 << 20  # bytes; the files are of a few kilobytes
SECONDS_MOST = 5.0


def morphing() -> GltfMaker:
    """A square with morph targets, cubic keys, a sparse accessor and two animations."""
    maker = GltfMaker()
    lift = {"POSITION": [(0, 0, 1)] * 4, "NORMAL": [(1, 0, 0)] * 4}
    maker.node(mesh=maker.mesh(SQUARE, SQUARE_FACES, targets=[lift], NORMAL=floats([(0, 0, 1)] * 4)), children=[1])
    maker.node(mesh=maker.mesh(SQUARE, [0, 1, 3, 2], mode=5, COLOR_0=floats(np.ones((4, 4)))))
    maker.animation("breathe", (0, "weights", [0, 1], np.ones(6), "CUBICSPLINE"), (1, "scale", [0, 1], np.ones((2, 3)), "STEP"))
    return maker


MAKERS = {"full": full, "morphing": morphing, "draco": draco_strip, "meshopt": meshopt_square, "basis": basis_square, "copies": flower}
oddities = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([-1, 0, 1, 2, 7, 255, 10**6, 10**9, 2**31, 2**63, 10**40, 1e400, float("nan"), 0.5, -1e30]),
    st.sampled_from(
        ["", "x", "SCALAR", "VEC2", "VEC3", "MAT4", "data:,x", "../a", "\0", [], {}, [0], [[]], {"extensions": {}}, [1e30] * 3]
    ),
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values inside a JSON document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for key, below in inner for path in places(below, (*at, key)))] if at or value else []


def changed(document: Any, path: tuple[Any, ...], new: Any, remove: bool) -> Any:
    """A document with one value replaced or removed."""
    document = deepcopy(document)
    at = document
    for key in path[:-1]:
        at = at[key]
    if remove:
        del at[path[-1]]
    else:
        at[path[-1]] = new
    return document


def opened_or_refused(path: Path) -> bool:
    """Open and pose every animation; whether the file was accepted. Anything but the package's own errors fails the test."""
    tracemalloc.start()
    start = time.perf_counter()
    try:
        for animation in range(max(1, len(GltfFile(path).items("animations")))):
            model = GltfModel(path, animation, Events())
            for seconds in (0.0, 0.4, 1e9):
                positions, normals = model.vertices(seconds)
                assert np.isfinite(positions).all()
                assert np.isfinite(normals).all()
        return True
    except (InputError, UnavailableError):
        return False
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < MEMORY_MOST
        assert time.perf_counter() - start < SECONDS_MOST


@pytest.mark.parametrize("name", MAKERS)
def test_changed_documents(tmp_path: Path, name: str) -> None:
    maker = MAKERS[name]()
    document = maker.document()
    paths = [path for path in places(document) if path]

    @settings(deadline=None, max_examples=200)
    @given(st.lists(st.tuples(st.sampled_from(paths), oddities, st.booleans()), min_size=1, max_size=3))
    def change(changes: list[tuple[tuple[Any, ...], Any, bool]]) -> None:
        damaged = document
        for path, new, remove in changes:
            try:
                damaged = changed(damaged, path, new, remove)
            except (KeyError, IndexError, TypeError):  # an earlier change took the place away
                continue
        opened_or_refused(written(tmp_path, pack(damaged, maker.binary)))

    assert opened_or_refused(written(tmp_path, pack(document, maker.binary)))
    change()


@pytest.mark.parametrize("name", MAKERS)
def test_changed_bytes(tmp_path: Path, name: str) -> None:
    whole = MAKERS[name]().glb()

    @settings(deadline=None, max_examples=200)
    @given(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), max_size=8), st.integers(0, len(whole)))
    def change(changes: list[tuple[int, int]], keep: int) -> None:
        data = bytearray(whole)
        for at, value in changes:
            data[at] = value
        opened_or_refused(written(tmp_path, bytes(data[:keep] if keep % 4 == 0 else data)))

    change()


def huge(count: int, **extra: Any) -> GltfMaker:
    """A file that states ``count`` vertices without having them."""
    maker = square()
    del maker.json["accessors"][0]["bufferView"]
    maker.json["accessors"][0] |= {"count": count, **extra}
    return maker


def repeated() -> GltfMaker:
    """A million vertices in the file, shown by a hundred nodes: 10^8."""
    maker = GltfMaker()
    mesh = maker.mesh(np.zeros((10**6, 3), np.float32), SQUARE_FACES)
    for _ in range(100):
        maker.node(mesh=mesh)
    return maker


def overlapping() -> GltfMaker:
    """Elements of 12 bytes at every byte."""
    maker = square()
    maker.json["bufferViews"][0]["byteStride"] = 1
    return maker


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: huge(10**8), "has 100,000,000 vertices; at most 4,000,000 are read; simplify the model"),
        (repeated, "has 100,000,000 vertices"),
        (overlapping, "elements of 12 bytes every 1 bytes"),
    ],
    ids=["stated", "repeated", "overlapping"],
)
def test_bombs_are_refused_before_they_are_read(tmp_path: Path, make: Any, message: str) -> None:
    path = make().save(tmp_path)
    tracemalloc.start()
    try:
        assert message in refusal(path)
        assert tracemalloc.get_traced_memory()[1] < (1 << 20) + 40 * path.stat().st_size  # the parsed JSON
    finally:
        tracemalloc.stop()


def test_morph_targets_that_share_their_data_count_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chronosplat.assets.primitive.MORPHED_MOST", 1000)
    maker = square()
    primitive = maker.json["meshes"][0]["primitives"][0]
    primitive["targets"] = [{"POSITION": primitive["attributes"]["POSITION"]}] * 251
    assert "has 1,004 morphed vertices" in refusal(maker.save(tmp_path))


def test_zeros_without_end_are_refused(tmp_path: Path) -> None:
    maker = square()
    index = maker.add("accessors", {"componentType": 5126, "count": 10**9, "type": "MAT4"})
    with pytest.raises(InputError, match="an accessor without data has 1000000000 elements; at most 4194304 are read"):
        GltfFile(maker.save(tmp_path)).accessor(index)


def test_the_same_bytes_read_again_and_again_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chronosplat.assets.gltf.DECODED_MOST", 100)
    file = GltfFile(square().save(tmp_path))
    file.accessor(0)  # 48 bytes
    file.accessor(0)
    file.accessor(1)  # 12 bytes
    file._accessors.clear()
    with pytest.raises(InputError, match="decodes to more than"):
        file.accessor(0)


def test_images_of_too_many_pixels_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maker = square()
    maker.texture(np.zeros((9, 8, 3)))
    file = GltfFile(maker.save(tmp_path))
    assert file.image(0).size == (8, 9)
    monkeypatch.setattr("chronosplat.assets.gltf.PIXELS_MOST", 64)
    with pytest.raises(InputError, match="8 x 9 pixels are more than 64"):
        file.image(0)


@pytest.mark.parametrize(
    "data", [b"GIF89a\1\0\1\0\0\0\0;", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\x89PNG\r\n\x1a\n" + b"\0" * 50, b"\xff\xd8\xff\xe0", b""]
)
def test_textures_that_do_not_decode_are_refused(tmp_path: Path, data: bytes) -> None:
    maker = square()
    maker.add("images", {"bufferView": maker.view(data)})
    maker.add("materials", {"pbrMetallicRoughness": {"baseColorTexture": {"index": maker.add("textures", {"source": 0})}}})
    maker.json["meshes"][0]["primitives"][0]["material"] = 0
    assert "image 0 cannot be decoded" in refusal(maker.save(tmp_path))


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 900 + "1" + "}" * 900, "9" * 5000])
def test_deep_and_long_documents(tmp_path: Path, text: str) -> None:
    assert "not a glTF" in refusal(written(tmp_path, text.encode(), "model.gltf"))


@pytest.mark.parametrize("uri", ["\0", "a" * 5000, "loop.bin", "data:application/octet-stream;base64,abc", "folder"])
def test_addresses_that_are_no_files(tmp_path: Path, uri: str) -> None:
    (tmp_path / "loop.bin").symlink_to(tmp_path / "loop.bin")
    (tmp_path / "folder").mkdir()
    refusal(written(tmp_path, loose(square(), uri), "model.gltf"))


def test_a_data_address_that_is_not_base64(tmp_path: Path) -> None:
    maker = square()
    quoted = "".join(f"%{byte:02x}" for byte in maker.binary)
    model = GltfModel(written(tmp_path, loose(maker, f"data:application/octet-stream,{quoted}"), "model.gltf"))
    assert np.array_equal(model.vertices(0)[0], SQUARE)


@pytest.mark.parametrize(
    "view", [{"byteOffset": -4}, {"byteLength": 10**6}, {"byteOffset": 10**12}, {"byteLength": -1}, {"byteOffset": 0.5}]
)
def test_buffer_views_out_of_range(tmp_path: Path, view: dict[str, Any]) -> None:
    maker = square()
    maker.json["bufferViews"][0] |= view
    assert "damaged" in refusal(maker.save(tmp_path))


def test_json_of_the_largest_numbers(tmp_path: Path) -> None:
    document = json.dumps(square().document()).replace('"count": 4', '"count": 1e999')
    refusal(written(tmp_path, document.encode(), "model.gltf"))


@pytest.mark.parametrize("table", ["accessors", "bufferViews", "meshes", "nodes", "textures", "materials", "images"])
@pytest.mark.parametrize("odd", [None, 7, "x", [1], {"KHR_texture_basisu": 3}, {"EXT_meshopt_compression": None}])
def test_odd_extensions(tmp_path: Path, table: str, odd: Any) -> None:
    maker = full()
    maker.json[table][0]["extensions"] = odd
    opened_or_refused(maker.save(tmp_path))


@pytest.mark.parametrize("kind", ["SCALAR", "VEC2", "VEC3", "VEC4", "MAT2", "MAT4"])
@pytest.mark.parametrize("name", ["full", "morphing"])
def test_accessors_of_another_type(tmp_path: Path, name: str, kind: str) -> None:
    document, binary = MAKERS[name]().document(), MAKERS[name]().binary
    for k in range(len(document["accessors"])):
        opened_or_refused(written(tmp_path, pack(changed(document, ("accessors", k, "type"), kind, False), binary)))


@pytest.mark.parametrize("component", [5120, 5121, 5122, 5123, 5125, 5126])
@pytest.mark.parametrize("name", ["full", "morphing"])
def test_accessors_of_another_component_type(tmp_path: Path, name: str, component: int) -> None:
    document, binary = MAKERS[name]().document(), MAKERS[name]().binary
    for k in range(len(document["accessors"])):
        opened_or_refused(written(tmp_path, pack(changed(document, ("accessors", k, "componentType"), component, False), binary)))
