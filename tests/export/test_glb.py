"""GLB with KHR_gaussian_splatting: what is written, what comes back, and what is refused."""

from __future__ import annotations

import json
import struct
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chronosplat.assets.gltf import GltfFile
from chronosplat.cameras import Similarity, orbit
from chronosplat.events import Events, Notice
from chronosplat.export import export, load_scene
from chronosplat.export.coordinates import oriented
from chronosplat.export.glb import GlbWriter
from chronosplat.export.glb_scene import transformed
from chronosplat.render import render
from chronosplat.scenes import Gaussians3D, Scene, matrices_to_quats, quats_to_matrices
from chronosplat.shapes import InputError
from tests.export.foreign_kit import gltf_issues, needs_node, node, splat_transform
from tests.scene_kit import covariances, law, moving_scene, seeds, sequence_scene, similarities, static_scene, tilted_world

PREFIX = "KHR_gaussian_splatting:"


def parts(path: Path) -> tuple[dict[str, Any], bytes]:
    """The JSON and the binary chunk."""
    data = path.read_bytes()
    size = struct.unpack_from("<I", data, 12)[0]
    return json.loads(data[20 : 20 + size]), data[28 + size :]


def rebuilt(path: Path, document: dict[str, Any], binary: bytes) -> Path:
    """Write a GLB of a changed document."""
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)
    return path


def assert_equal_images(scene: Scene, again: Scene, least: float = 50.0) -> None:
    """At three views and three times."""
    first, last = scene.seconds or (0.0, 0.0)
    cameras = orbit([20.0, 140.0, 260.0], [10.0, -30.0, 50.0], size=48).transformed(scene.world)
    for seconds in (first, (first + last) / 2, last):
        times = [min(scene.timestamps(24) or [0.0], key=lambda t: abs(t - seconds))] * 3
        one, other = (render(s, cameras, times if s.seconds else None, backend="reference", cull=False).rgb for s in (scene, again))
        assert one.std() > 0.05
        assert -10 * torch.log10((one - other).square().mean().clamp_min(1e-12)) >= least


@law
@given(seeds(), similarities(), st.integers(1, 9))
def test_static_gaussians_come_back(tmp_path_factory: pytest.TempPathFactory, seed: int, world: Similarity, count: int) -> None:
    scene = static_scene(count, seed, world)
    path = export(scene, tmp_path_factory.getbasetemp() / "static.glb")
    again = load_scene(path)
    assert again.linear_form() is not None
    before, after = oriented(scene, "y").at(0), again.at(0)
    for name in ("means", "scales", "opacities", "colors"):
        torch.testing.assert_close(getattr(after, name), getattr(before, name), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(covariances(after), covariances(before), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.tensor(again.world.scale), torch.tensor(world.scale))


@law
@given(seeds(), st.integers(2, 6))
def test_frames_and_their_times_come_back(tmp_path_factory: pytest.TempPathFactory, seed: int, frames: int) -> None:
    scene = sequence_scene(frames, seed=seed, world=tilted_world())
    again = load_scene(export(scene, tmp_path_factory.getbasetemp() / "frames.glb"))
    assert again.timestamps(0) == pytest.approx(scene.timestamps(0), abs=1e-6)
    for seconds in scene.timestamps(0):
        before, after = oriented(scene, "y").at(seconds), again.at(seconds)
        torch.testing.assert_close(after.means, before.means, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(after.colors, before.colors)


@pytest.mark.parametrize("scene", [static_scene(40), sequence_scene(3, 40, world=tilted_world()), moving_scene(40)])
def test_renders_as_before(tmp_path: Path, scene: Scene) -> None:
    path = export(scene, tmp_path / "a.glb", up="capture")
    assert_equal_images(scene, load_scene(path))


def test_the_file_keeps_the_ratified_convention(tmp_path: Path) -> None:
    turn = torch.tensor([[0.5, 0.5, 0.5, 0.5]])
    one = Gaussians3D(
        torch.tensor([[1.0, 2, 3]]), turn, torch.tensor([[0.1, 0.2, 0.3]]), torch.tensor([0.25]), torch.tensor([[1.0, 0.5, 0]])
    )
    file = GltfFile(export(one, tmp_path / "one.glb"))
    (primitive,) = file.json["meshes"][0]["primitives"]
    assert primitive["mode"] == 0
    assert primitive["extensions"]["KHR_gaussian_splatting"] == {"kernel": "ellipse", "colorSpace": "srgb_rec709_display"}
    assert file.json["extensionsUsed"] == ["KHR_gaussian_splatting"]
    assert "animations" not in file.json
    read = {name.removeprefix(PREFIX): file.accessor(index)[0].tolist() for name, index in primitive["attributes"].items()}
    assert read["POSITION"] == [1, 2, 3]  # +Y up, as in the scene
    assert read["SCALE"] == pytest.approx([0.1, 0.2, 0.3])  # linear
    assert read["OPACITY"] == [0.25]  # after the sigmoid
    assert read["ROTATION"] == [0.5, 0.5, 0.5, 0.5]
    assert read["SH_DEGREE_0_COEF_0"] == pytest.approx([0.5 / 0.28209479, 0, -0.5 / 0.28209479], abs=1e-6)
    assert read["COLOR_0"] == pytest.approx([1, 128 / 255, 0, 64 / 255])


def test_rotations_are_xyzw(tmp_path: Path) -> None:
    quats = torch.tensor([[0.1, 0.2, 0.3, 0.9274]])
    scene = Gaussians3D(torch.zeros(1, 3), quats / quats.norm(), torch.ones(1, 3), torch.ones(1) * 0.5, torch.ones(1, 3) * 0.5)
    file = GltfFile(export(scene, tmp_path / "one.glb"))
    index = file.json["meshes"][0]["primitives"][0]["attributes"][f"{PREFIX}ROTATION"]
    assert file.accessor(index)[0].tolist() == pytest.approx([0.2, 0.3, 0.9274, 0.1], abs=1e-4)


def test_one_frame_is_visible_at_a_time_and_the_first_one_at_rest(tmp_path: Path) -> None:
    file = GltfFile(export(sequence_scene(3), tmp_path / "a.glb"))
    assert [node.get("scale", [1, 1, 1]) for node in file.json["nodes"]] == [[1, 1, 1], [0, 0, 0], [0, 0, 0]]
    keys = []
    for channel, sampler in zip(file.json["animations"][0]["channels"], file.json["animations"][0]["samplers"], strict=True):
        assert channel["target"]["path"] == "scale"
        assert sampler["interpolation"] == "STEP"
        keys.append(list(zip(file.accessor(sampler["input"])[:, 0].tolist(), file.accessor(sampler["output"])[:, 0].tolist(), strict=True)))
    first, second, end = (pytest.approx(t) for t in (0.2, 0.6, 0.9))
    assert keys == [[(0, 1), (first, 0)], [(0, 0), (first, 1), (second, 0)], [(0, 0), (second, 1), (end, 1)]]


def test_equal_data_is_written_once(tmp_path: Path) -> None:
    still = static_scene(100)
    moved = torch.stack([still.means, still.means + 0.1])
    same = {name: torch.stack([value, value]) for name, value in still.tensors().items()} | {"means": moved}
    document, _ = parts(export(type(sequence_scene())(**same, times=torch.tensor([0.0, 1.0])), tmp_path / "a.glb"))
    attributes = [mesh["primitives"][0]["attributes"] for mesh in document["meshes"]]
    assert [name for name in attributes[0] if attributes[0][name] != attributes[1][name]] == ["POSITION"]


def test_a_time_at_which_nothing_is_visible_comes_back_empty(tmp_path: Path) -> None:
    scene = sequence_scene(3)
    scene.opacities[1] = 0
    again = load_scene(export(scene, tmp_path / "a.glb"))
    assert [again.at(seconds).num_gaussians for seconds in again.timestamps(0)] == [6, 0, 6]


def test_a_file_larger_than_a_glb_can_be_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("chronosplat.export.glb"), "MOST", 1000)
    with pytest.raises(InputError, match=r"4 GiB; write fewer times"):
        export(sequence_scene(3), tmp_path / "a.glb")
    assert list(tmp_path.iterdir()) == []


@law
@given(seeds(), similarities())
def test_a_similarity_moves_gaussians_as_their_covariances(seed: int, world: Similarity) -> None:
    scene = static_scene(4, seed, dtype=torch.float64)
    exact = transformed(scene, world.matrix().numpy())
    sheared = np.array(world.matrix().numpy())
    sheared[:3, :3] @= np.array([[1, 1e-5, 0], [0, 1, 0], [0, 0, 1]])  # enough to be taken for a general matrix
    general = transformed(scene, sheared)
    torch.testing.assert_close(covariances(general), covariances(exact), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(general.means.double(), exact.means, rtol=1e-4, atol=1e-4)


def test_nodes_of_foreign_files_move_their_splats(tmp_path: Path) -> None:
    scene = static_scene(5)
    document, binary = parts(export(scene, tmp_path / "a.glb"))
    del document["asset"]["extras"]
    turn = quats_to_matrices(torch.tensor([[0.5, -0.5, 0.5, 0.5]], dtype=torch.float64))[0]
    x, y, z = matrices_to_quats(turn)[1:].tolist()
    outer = {"translation": [1, 2, 3], "children": [1], "name": "outer"}
    inner = {"mesh": 0, "rotation": [x, y, z, float(matrices_to_quats(turn)[0])], "scale": [2, 2, 2]}
    document |= {"nodes": [outer, inner], "scenes": [{"nodes": [0]}]}
    again = load_scene(rebuilt(tmp_path / "b.glb", document, binary)).at(0)
    expected = scene.with_world(Similarity(2.0, turn, torch.tensor([1.0, 2, 3], dtype=torch.float64))).in_world()
    torch.testing.assert_close(again.means, expected.means)
    torch.testing.assert_close(covariances(again), covariances(expected), rtol=1e-4, atol=1e-6)


def broken(change: str, value: Any) -> Any:
    """A change of the document: a path of keys, and what to put there."""

    def apply(document: dict[str, Any]) -> None:
        *keys, last = [int(key) if key.isdigit() else key for key in change.split("/")]
        place: Any = document
        for key in keys:
            place = place[key]
        if value is ...:
            del place[last]
        else:
            place[last] = value

    return apply


EXTENSION = "meshes/0/primitives/0/extensions/KHR_gaussian_splatting"


@pytest.mark.parametrize(
    ("change", "value", "message"),
    [
        (f"{EXTENSION}/colorSpace", ..., "readable: kernel 'ellipse', colorSpace 'srgb_rec709_display'"),
        (f"{EXTENSION}/kernel", "box", "kernel 'box'"),
        ("meshes/0/primitives/0/mode", 4, "not points"),
        ("meshes/0/primitives/0/extensions", {}, "holds no Gaussian splats"),
        (f"meshes/0/primitives/0/attributes/{PREFIX}SCALE", ..., "without KHR_gaussian_splatting:SCALE"),
        (f"meshes/0/primitives/0/attributes/{PREFIX}SCALE", 99, "damaged"),
        (f"meshes/0/primitives/0/attributes/{PREFIX}ROTATION", 0, "wrong type"),
        ("accessors/0/count", 10**12, "runs past the end"),
        ("accessors/0/count", 3, "attributes of 3, 6"),
        ("accessors/0/bufferView", ..., "has no data"),
        ("accessors/0/byteOffset", -8, "byteOffset -8 is negative"),
        ("bufferViews/0/byteOffset", 10**9, "past the end of its buffer"),
        ("buffers/0/byteLength", 10**9, "truncated"),
        ("nodes/0/children", [0], "more than once"),
        ("nodes/0/matrix", [1, 2, 3], "damaged"),
        ("nodes/0/scale", "large", "damaged"),
        ("extensionsRequired", ["KHR_gaussian_splatting_compression_spz_2"], "unsupported extension"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, change: str, value: Any, message: str) -> None:
    document, binary = parts(export(static_scene(), tmp_path / "a.glb"))
    broken(change, value)(document)
    with pytest.raises(InputError, match=message):
        load_scene(rebuilt(tmp_path / "b.glb", document, binary))


@pytest.mark.parametrize("bad", [float("nan"), 2.0])
def test_opacities_outside_their_range_are_refused(tmp_path: Path, bad: float) -> None:
    path = export(static_scene(), tmp_path / "a.glb")
    document, binary = parts(path)
    view = document["bufferViews"][
        document["accessors"][document["meshes"][0]["primitives"][0]["attributes"][f"{PREFIX}OPACITY"]]["bufferView"]
    ]
    start = view["byteOffset"]
    with pytest.raises(InputError, match=r"damaged: (opacities outside|KHR_gaussian_splatting:OPACITY holds NaN)"):
        load_scene(rebuilt(path, document, binary[:start] + struct.pack("<f", bad) + binary[start + 4 :]))


@law
@given(st.data())
def test_only_input_errors_come_out_of_damaged_bytes(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.getbasetemp()
    whole = bytearray(export(sequence_scene(2, 3), folder / "whole.glb").read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(12, len(whole) - 1))] = data.draw(st.integers(0, 255))
    file = folder / "damaged.glb"
    file.write_bytes(bytes(whole[: data.draw(st.integers(len(whole) // 2, len(whole)))]))
    with suppress(InputError):
        scene = load_scene(file)
        scene.evaluate(torch.tensor([0.0]))


LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-5, 2**40), st.floats(), st.text(max_size=3), st.just([]), st.just({}))


@law
@given(st.data())
def test_only_input_errors_come_out_of_damaged_documents(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.getbasetemp()
    document, binary = parts(export(sequence_scene(2, 3), folder / "whole.glb"))
    place: Any = document
    while True:
        key = data.draw(st.sampled_from(list(place) if isinstance(place, dict) else range(len(place))))
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.integers(0, 5)) == 0:
            break
        place = inner
    place[key] = data.draw(LEAVES)
    with suppress(InputError):
        load_scene(rebuilt(folder / "damaged.glb", document, binary)).evaluate(torch.tensor([0.0]))


def test_what_is_not_read_is_noticed(tmp_path: Path) -> None:
    notices: list[Notice] = []
    document, binary = parts(export(sequence_scene(2), tmp_path / "a.glb"))
    document["animations"].append(document["animations"][0])
    for mesh in document["meshes"]:
        attributes = mesh["primitives"][0]["attributes"]
        attributes |= {f"{PREFIX}SH_DEGREE_1_COEF_{i}": attributes[f"{PREFIX}SH_DEGREE_0_COEF_0"] for i in range(3)}
    load_scene(rebuilt(tmp_path / "b.glb", document, binary), Events(notice=notices.append))
    assert [notice.code for notice in notices] == ["animation", "harmonics"]


def test_memory_holds_one_frame(tmp_path: Path) -> None:
    """The writer keeps indices and hashes, and none of the data."""
    with GlbWriter(tmp_path / "a.glb", Similarity()) as glb:
        for index in range(50):
            glb.accessor(np.full((1000, 3), index, np.float32))
        kept = sum(len(key) for key in glb._known) + len(json.dumps(glb.json))
    assert kept < 12_000
    assert (tmp_path / "a.glb").stat().st_size > 600_000


@needs_node
@pytest.mark.parametrize("scene", [static_scene(), sequence_scene(3)], ids=["static", "frames"])
def test_the_validator_finds_nothing(tmp_path: Path, scene: Scene) -> None:
    path = export(scene, tmp_path / "a.glb")
    assert gltf_issues(path) == []
    document, binary = parts(path)
    document["accessors"][0]["max"] = [0.0, 0.0, 0.0]
    assert gltf_issues(rebuilt(path, document, binary)) != []  # the check can fail


@needs_node
def test_three_shows_the_same_gaussians_at_the_same_times(tmp_path: Path) -> None:
    scene = sequence_scene(3, 5)
    times = scene.timestamps(0)
    shown = node("three_scene.mjs", export(scene, tmp_path / "a.glb"), *(t - times[0] + 0.01 for t in times))
    assert shown["duration"] == pytest.approx(0.9)
    for seconds, at in zip(times, shown["seen"], strict=True):
        (part,) = at["parts"]  # one frame
        expected = scene.at(seconds)
        values = {name: np.reshape(a["values"], (-1, a["size"])) for name, a in part["attributes"].items()}
        np.testing.assert_allclose(values["position"], expected.means, atol=1e-6)
        full = covariances(expected).numpy()
        np.testing.assert_allclose(values["covariance"], full.reshape(-1, 9)[:, [0, 1, 2, 4, 5, 8]], rtol=1e-4, atol=1e-6)
        rgba = np.concatenate([expected.colors, expected.opacities[:, None]], 1)
        np.testing.assert_allclose(values["color"] / 255, rgba, atol=0.6 / 255)


@needs_node
def test_a_foreign_file_is_read_as_its_writer_meant_it(tmp_path: Path) -> None:
    """splat-transform takes a y-down PLY upright by half a turn about z, ours was written by half a turn about x: half a turn about y."""
    scene = static_scene(30)
    splat_transform(export(scene, tmp_path / "a.ply"), tmp_path / "foreign.glb")
    turned = scene.with_world(Similarity(rotation=torch.diag(torch.tensor([-1.0, 1, -1], dtype=torch.float64)))).in_world()
    assert_equal_images(turned, load_scene(tmp_path / "foreign.glb"))


def test_numbered_files_are_one_sequence(tmp_path: Path) -> None:
    scene = sequence_scene(3)
    export(scene, tmp_path / "a_####.glb")
    again = load_scene(tmp_path / "a_####.glb")
    assert again.timestamps(0) == pytest.approx(scene.timestamps(0))
    torch.testing.assert_close(again.at(1.2).means, scene.at(1.2).means)
