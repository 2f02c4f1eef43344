"""Meshes as files: animated GLB, and numbered OBJ and PLY."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from chronosplat.assets import GltfModel
from chronosplat.assets.gltf import GltfFile
from chronosplat.assets.mesh import to_linear
from chronosplat.cameras import Similarity
from chronosplat.events import Events, Notice
from chronosplat.export import export, format_of, load_scene
from chronosplat.export.coordinates import oriented
from chronosplat.meshes import Mesh, MeshOptions
from chronosplat.scenes import SPLAT_SHAPES, DeformableGaussians, GaussianSequence
from chronosplat.shapes import InputError
from tests.export.foreign_kit import gltf_issues, needs_node, node
from tests.meshes.sphere import CENTER, RADIUS, sphere
from tests.scene_kit import tilted_world

pytest.importorskip("skimage", reason="scikit-image is not installed (extra mesh)")
pytest.importorskip("fast_simplification", reason="fast-simplification is not installed (extra mesh)")

SMALL = MeshOptions(resolution=24, faces=0)
SHIFT = (0.2, 0.0, 0.0)


def sequence(world: Similarity | None = None) -> GaussianSequence:
    """A sphere that jumps along x."""
    sets = [sphere(400), sphere(400, (CENTER[0] + SHIFT[0], *CENTER[1:]))]
    stacked = {name: torch.stack([getattr(s, name) for s in sets]) for name in SPLAT_SHAPES}
    return GaussianSequence(**stacked, times=torch.tensor([2.0, 2.5]), world=world or Similarity())


def body() -> DeformableGaussians:
    """A sphere that glides along x."""
    one = sphere(400)
    skin = {"skin_nodes": torch.zeros(400, 1, dtype=torch.int64), "skin_weights": torch.ones(400, 1)}
    shifts = torch.tensor([[[0.0, 0, 0]], [SHIFT]])
    motion = {"nodes": torch.zeros(1, 3), "knots": torch.tensor([0.0, 1.0], dtype=torch.float64), "shifts": shifts, "turns": shifts * 0}
    return DeformableGaussians(**one.tensors(), **skin, **motion)


def read_ply_mesh(path: Path) -> Mesh:
    """Read a mesh PLY of ours, by its header."""
    header, data = path.read_bytes().split(b"end_header\n", 1)
    lines = header.decode().split("\n")
    counts = [int(line.split()[-1]) for line in lines if line.startswith("element")]
    assert [line.split()[-1] for line in lines if line.startswith("property")] == ["x", "y", "z", "red", "green", "blue", "vertex_indices"]
    vertices = np.frombuffer(data, [("xyz", "<f4", 3), ("rgb", "u1", 3)], counts[0])
    faces = np.frombuffer(data, [("count", "u1"), ("corners", "<i4", 3)], counts[1], vertices.nbytes)
    assert vertices.nbytes + faces.nbytes == len(data)
    assert (faces["count"] == 3).all()
    return Mesh(vertices["xyz"], faces["corners"].astype(np.int64), vertices["rgb"].astype(np.float32) / 255)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("mesh.glb", ".mesh.glb"), ("a.mesh.glb", ".mesh.glb"), ("a.glb", ".glb"), ("fishmesh.glb", ".glb"), ("A.MESH.PLY", ".mesh.ply")],
)
def test_the_longest_suffix_counts(name: str, suffix: str) -> None:
    assert format_of(name).suffix == suffix


def test_a_sequence_becomes_one_mesh_per_time(tmp_path: Path) -> None:
    path = export(sequence(), tmp_path / "mesh.glb", options=SMALL)
    file = GltfFile(path)
    assert len(file.json["meshes"]) == 2
    assert file.json["extensionsUsed"] == ["KHR_materials_unlit"]
    model = GltfModel(path)  # our reader of animated meshes sees the frames switch; hidden ones are points at the origin
    (first, second) = (largest(model, seconds).mean(0) for seconds in (0.1, 0.6))
    np.testing.assert_allclose(second - first, SHIFT, atol=0.02)


def largest(model: GltfModel, seconds: float) -> np.ndarray:
    """The vertices that are not shrunk to the origin."""
    positions, _ = model.vertices(seconds)
    return positions[np.abs(positions).max(1) > 1e-6]


def test_tracked_scenes_become_one_mesh_with_morph_targets(tmp_path: Path) -> None:
    path = export(body(), tmp_path / "mesh.glb", times=3, options=SMALL)
    file = GltfFile(path)
    (mesh,) = file.json["meshes"]
    assert len(mesh["primitives"][0]["targets"]) == 3
    (channel,) = file.json["animations"][0]["channels"]
    assert channel["target"]["path"] == "weights"
    model = GltfModel(path)
    start = model.vertices(0.0)[0]
    for seconds in (0.25, 0.5, 1.0):  # 0.25 lies between two targets
        expected = start + (body().tracks(torch.tensor([CENTER]), 0.0, torch.tensor([0.0, seconds])).diff(dim=0)[0].numpy())
        np.testing.assert_allclose(model.vertices(seconds)[0], expected, atol=0.01)


def test_meshes_are_written_in_the_files_coordinates(tmp_path: Path) -> None:
    scene = sequence(tilted_world())
    files = export(scene, tmp_path / "m_####.mesh.ply", options=SMALL)
    assert files == tmp_path / "m_####.mesh.ply"
    for index, seconds in enumerate(scene.timestamps(0)):
        mesh = read_ply_mesh(tmp_path / f"m_{index:04d}.mesh.ply")
        assert mesh.is_watertight()
        assert mesh.volume() > 0
        center = oriented(scene, "y").at(seconds).means.mean(0)
        np.testing.assert_allclose(mesh.vertices.mean(0), center, atol=0.05)
        np.testing.assert_allclose(np.linalg.norm(mesh.vertices - center.numpy(), axis=1).mean(), RADIUS * 2.5, rtol=0.15)


def test_obj_and_ply_hold_the_same_mesh(tmp_path: Path) -> None:
    still = sphere(400)
    export(still, tmp_path / "a.obj", options=SMALL)
    lines = [line.split() for line in (tmp_path / "a.obj").read_text().splitlines()]
    vertices = np.array([line[1:] for line in lines if line[0] == "v"], np.float32)
    faces = np.array([line[1:] for line in lines if line[0] == "f"], np.int64) - 1
    other = read_ply_mesh(export(still, tmp_path / "a.mesh.ply", options=SMALL))
    np.testing.assert_array_equal(faces, other.faces)
    np.testing.assert_allclose(vertices[:, :3], other.vertices, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(vertices[:, 3:], other.colors, atol=3e-3)


def test_colours_are_linear_and_unlit(tmp_path: Path) -> None:
    gray = replace(sphere(400), colors=torch.full((400, 3), 0.5))
    file = GltfFile(export(gray, tmp_path / "mesh.glb", options=SMALL))
    colors = file.accessor(file.json["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"])
    np.testing.assert_allclose(colors[:, :3], to_linear(np.array([0.5]))[0], atol=2e-3)
    assert (colors[:, 3] == 1).all()
    assert "animations" not in file.json


def test_a_time_without_a_surface_is_empty_and_noticed(tmp_path: Path) -> None:
    scene = sequence()
    scene.opacities[1] = 0.01
    notices: list[Notice] = []
    path = export(scene, tmp_path / "mesh.glb", options=SMALL, events=Events(notice=notices.append))
    assert ["mesh" in item for item in GltfFile(path).json["nodes"]] == [True, False]
    assert "mesh: 1 of 2 times have no surface" in [notice.text for notice in notices]
    scene.opacities[0] = 0.01
    with pytest.raises(InputError, match="no surface"):
        export(scene, tmp_path / "none.mesh.glb", options=SMALL)


def test_meshes_are_not_read_as_scenes(tmp_path: Path) -> None:
    path = export(sphere(400), tmp_path / "mesh.glb", options=SMALL)
    with pytest.raises(InputError, match=r"\.mesh\.glb files are only written"):
        load_scene(path)
    with pytest.raises(InputError, match="holds no Gaussian splats"):
        load_scene(path.rename(tmp_path / "renamed.glb"))


@needs_node
def test_the_validator_finds_nothing(tmp_path: Path) -> None:
    for scene in (sphere(400), sequence(), body()):
        assert gltf_issues(export(scene, tmp_path / "mesh.glb", times=3, options=SMALL)) == []


@needs_node
def test_three_plays_the_morph_targets(tmp_path: Path) -> None:
    shown = node("three_scene.mjs", export(body(), tmp_path / "mesh.glb", times=3, options=SMALL), 0.25, 0.5)
    assert [at["parts"][0]["influences"] for at in shown["seen"]] == [pytest.approx([0.5, 0.5, 0]), pytest.approx([0, 1, 0])]
