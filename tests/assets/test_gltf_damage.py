"""Damaged glTF files raise errors that name the damage."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chronosplat.assets.model import GltfModel
from chronosplat.shapes import InputError
from tests.assets.gltf_kit import REFERENCES, full, loose, opened, refusal, sparse, square, written
from tests.assets.gltf_maker import SQUARE, SQUARE_FACES, GltfMaker, floats, pack, two_joint_strip


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
def test_invalid_accessor(tmp_path: Path, change: dict[str, Any]) -> None:
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


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_never_crash(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "noise.glb"
    for data in (noise, b"glTF" + struct.pack("<II", 2, 12 + len(noise)) + noise):
        path.write_bytes(data)
        with pytest.raises(InputError):
            GltfModel(path)


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


def test_missing_animation_lists_the_names(tmp_path: Path) -> None:
    maker = square()
    for name in ("Walk", "Run", None):
        maker.animation(name, (0, "translation", [0, 1], [(0, 0, 0), (1, 0, 0)], "LINEAR"))
    path = maker.save(tmp_path)
    for animation in ("Fly", 3, -1):
        with pytest.raises(InputError) as caught:
            GltfModel(path, animation)
        assert f"no animation {animation!r}; it has 3: Walk, Run, anim2" in str(caught.value)


def test_an_animation_of_a_static_model(tmp_path: Path) -> None:
    path = square().save(tmp_path)
    assert GltfModel(path).duration == 0
    with pytest.raises(InputError, match=r"no animation 'Walk'; it has 0: none"):
        GltfModel(path, "Walk")


@pytest.mark.parametrize("children", [{0: [1], 1: [0]}, {0: [0]}, {0: [1, 1]}, {0: [1, 2], 1: [2]}])
def test_node_cycles_and_shared_children(tmp_path: Path, children: dict[int, list[int]]) -> None:
    maker = square()
    maker.node()
    maker.node()
    for index, below in children.items():
        maker.json["nodes"][index]["children"] = below
    maker.json["scenes"] = [{"nodes": [0]}]
    assert "is its own ancestor, or occurs twice in the hierarchy" in refusal(maker.save(tmp_path))


def test_joints_in_a_cycle_outside_the_scene_are_refused(tmp_path: Path) -> None:
    maker = two_joint_strip()
    maker.json["nodes"][2]["children"] = [1]
    maker.json["scenes"] = [{"nodes": [0]}]
    assert "node 1 is its own ancestor" in refusal(maker.save(tmp_path))


def test_the_undamaged_file_loads(tmp_path: Path) -> None:
    assert np.isfinite(GltfModel(full().save(tmp_path)).vertices(0.5)[0]).all()


@pytest.mark.parametrize("where", REFERENCES, ids=lambda w: "-".join(map(str, w)))
def test_dangling_references_are_refused(tmp_path: Path, where: tuple[Any, ...]) -> None:
    maker = full()
    document = maker.document()
    at: Any = document
    for key in where[:-1]:
        at = at[key]
    assert where[-1] in at or isinstance(where[-1], int)
    at[where[-1]] = 99
    refusal(written(tmp_path, pack(document, maker.binary)))


@pytest.mark.parametrize("bad", [-1, 1.5, True, "0"])
def test_references_that_are_no_indices_are_refused(tmp_path: Path, bad: float) -> None:
    for where in REFERENCES:
        maker = full()
        at: Any = (document := maker.document())
        for key in where[:-1]:
            at = at[key]
        at[where[-1]] = bad
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


@pytest.mark.parametrize("uri", ["../secret.bin", "%2e%2e/secret.bin", "a/../../secret.bin", "{absolute}", "link.bin"])
def test_a_file_outside_the_asset_s_folder_is_not_read(tmp_path: Path, uri: str) -> None:
    maker = full()
    (tmp_path / "secret.bin").write_bytes(maker.binary)
    folder = tmp_path / "asset"
    folder.mkdir()
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    uri = uri.format(absolute=tmp_path / "secret.bin")
    message = refusal(written(folder, loose(maker, uri), "model.gltf"))
    assert f"refers to {uri} outside its folder" in message
    (folder / "inside.bin").write_bytes(maker.binary)
    assert np.isfinite(GltfModel(written(folder, loose(maker, "./inside.bin"), "model.gltf")).vertices(0.0)[0]).all()
