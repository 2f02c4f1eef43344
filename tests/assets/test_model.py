"""Posed models: skins, morph targets, rigid parts and normals, against known positions."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike

from chronosplat.assets.mesh import vertex_normals
from chronosplat.assets.model import GltfModel, cofactors
from tests.assets.gltf_maker import SQUARE, SQUARE_FACES, GltfMaker, floats, two_joint_strip

HALF = float(np.sqrt(0.5))


def near(found: ArrayLike, expected: ArrayLike, tolerance: float = 1e-6) -> None:
    """Compare elementwise."""
    np.testing.assert_allclose(found, expected, atol=tolerance)


# skins


def test_strip_at_rest(tmp_path: Path) -> None:
    positions, normals = GltfModel(two_joint_strip().save(tmp_path)).vertices(0.0)
    near(positions, [(x, y, 0) for y in (0, 1, 2) for x in (-0.5, 0.5)])
    near(normals, [(0, 0, 1)] * 6)


def test_strip_bent_by_a_quarter_turn(tmp_path: Path) -> None:
    model = GltfModel(two_joint_strip().save(tmp_path), "bend")
    assert model.duration == 1
    positions, normals = model.vertices(1.0)
    fixed, middle, end = [(-0.5, 0, 0), (0.5, 0, 0)], [(-0.25, 0.75, 0), (0.25, 1.25, 0)], [(-1, 0.5, 0), (-1, 1.5, 0)]
    near(positions, fixed + middle + end)
    near(normals, [(0, 0, 1)] * 6)


def test_strip_half_way(tmp_path: Path) -> None:
    positions, _ = GltfModel(two_joint_strip().save(tmp_path)).vertices(0.5)
    turn = np.array([(HALF, -HALF), (HALF, HALF)])
    near(positions[4:, :2], np.array([(-0.5, 1), (0.5, 1)]) @ turn.T + (0, 1))


def test_strip_out_of_the_plane_turns_normals(tmp_path: Path) -> None:
    maker = two_joint_strip()
    maker.animation("fold", (2, "rotation", [0, 1], [(0, 0, 0, 1), (HALF, 0, 0, HALF)], "LINEAR"))
    positions, normals = GltfModel(maker.save(tmp_path), "fold").vertices(1.0)
    near(positions[4:], [(-0.5, 1, 1), (0.5, 1, 1)])
    near(normals[4:], [(0, -1, 0)] * 2)
    near(normals[2:4], [(0, -HALF, HALF)] * 2)
    near(normals[:2], [(0, 0, 1)] * 2)


def test_weights_are_normalised(tmp_path: Path) -> None:
    given = [(3, 0, 0, 0)] * 2 + [(2, 2, 0, 0)] * 2 + [(0, 0.25, 0, 0)] * 2
    model = GltfModel(two_joint_strip(given).save(tmp_path))
    near(model._weights.sum(1), np.ones(6))
    near(model.vertices(1.0)[0], GltfModel(two_joint_strip().save(tmp_path, "plain.glb")).vertices(1.0)[0])


def test_nan_weights_are_repaired_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    nan = float("nan")
    given = [(1, 0, 0, 0), (nan, nan, nan, nan), (nan, 0.5, 0, 0), (0.5, 0.5, 0, 0), (0, 1, 0, 0), (0, np.inf, 0, 0)]
    path = two_joint_strip(given).save(tmp_path)
    with caplog.at_level(logging.WARNING, "chronosplat"):
        model = GltfModel(path)
    assert [r.getMessage() for r in caplog.records] == [f"{path}: 3 vertices with NaN skin weights repaired"]
    near(model._weights.sum(1), np.ones(6))
    positions, _ = model.vertices(1.0)
    near(positions[1], (0.5, 0, 0))  # nothing left: the first joint
    near(positions[2], (0, 0.5, 0))  # what is left counts: joint 1 alone
    near(positions[5], (0.5, 2, 0))


def test_valid_weights_give_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "chronosplat"):
        GltfModel(two_joint_strip().save(tmp_path))
    assert not caplog.records


def test_zero_weights_follow_the_first_joint(tmp_path: Path) -> None:
    positions, _ = GltfModel(two_joint_strip([(0, 0, 0, 0)] * 6).save(tmp_path)).vertices(1.0)
    near(positions, [(x, y, 0) for y in (0, 1, 2) for x in (-0.5, 0.5)])


def test_quantised_weights(tmp_path: Path) -> None:
    maker = two_joint_strip()
    bytes_ = np.array([(255, 0, 0, 0)] * 2 + [(128, 127, 0, 0)] * 2 + [(0, 255, 0, 0)] * 2, np.uint8)
    maker.json["meshes"][0]["primitives"][0]["attributes"]["WEIGHTS_0"] = maker.accessor(bytes_, normalized=True)
    model = GltfModel(maker.save(tmp_path))
    near(model._weights.sum(1), np.ones(6))
    near(model.vertices(1.0)[0][4:], [(-1, 0.5, 0), (-1, 1.5, 0)])


def test_eight_influences(tmp_path: Path) -> None:
    maker = two_joint_strip([(0.5, 0, 0, 0)] * 6)
    attributes = maker.json["meshes"][0]["primitives"][0]["attributes"]
    attributes["JOINTS_1"] = maker.accessor(np.tile(np.array([1, 0, 0, 0], np.uint8), (6, 1)))
    attributes["WEIGHTS_1"] = maker.accessor(floats([(0.5, 0, 0, 0)] * 6))
    positions, _ = GltfModel(maker.save(tmp_path)).vertices(1.0)
    near(positions[4:], [(-0.75, 1.25, 0), (-0.25, 1.75, 0)])


def test_without_inverse_bind_matrices_they_are_identities(tmp_path: Path) -> None:
    maker = two_joint_strip()
    del maker.json["skins"][0]["inverseBindMatrices"]
    positions, _ = GltfModel(maker.save(tmp_path)).vertices(0.0)
    near(positions[4:], [(-0.5, 3, 0), (0.5, 3, 0)])


def test_two_skins_do_not_mix(tmp_path: Path) -> None:
    maker = two_joint_strip()
    maker.json["skins"].append({"joints": [3, 4]})
    maker.node(translation=[0, 0, 5])
    maker.node(translation=[0, 0, 6])
    maker.node(mesh=0, skin=1)
    positions, _ = GltfModel(maker.save(tmp_path)).vertices(0.0)
    assert len(positions) == 12
    depths = sorted(np.round(positions[:, 2], 4).tolist())
    assert depths == [0] * 6 + [5] * 2 + [5.5] * 2 + [6] * 2


# rigid parts


def two_squares() -> GltfMaker:
    """One mesh under two nodes; node 0 moves and turns."""
    maker = GltfMaker()
    mesh = maker.mesh(SQUARE, SQUARE_FACES)
    maker.node(mesh=mesh)
    maker.node(mesh=mesh, translation=[0, 0, -3])
    spin = (0, "rotation", [0, 1], [(0, 0, 0, 1), (0, HALF, 0, HALF)], "LINEAR")
    maker.animation("go", (0, "translation", [0, 2], [(0, 0, 0), (4, 0, 0)], "LINEAR"), spin)
    return maker


def test_rigid_primitive_moves_with_its_node(tmp_path: Path) -> None:
    model = GltfModel(two_squares().save(tmp_path))
    assert model.duration == 2
    positions, normals = model.vertices(1.0)
    moving = np.flatnonzero(positions[:, 2] > -2)
    near(positions[moving], SQUARE[:, [2, 1, 0]] * (1, 1, -1) + (2, 0, 0))
    near(normals[moving], [(1, 0, 0)] * 4)
    still = np.flatnonzero(positions[:, 2] < -2)
    near(positions[still], SQUARE - (0, 0, 3))
    near(normals[still], [(0, 0, 1)] * 4)


def test_every_primitive_keeps_its_faces(tmp_path: Path) -> None:
    surface = GltfModel(two_squares().save(tmp_path)).surface
    assert surface.faces.tolist() == [[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]]
    assert surface.face_materials.tolist() == [0] * 4
    assert surface.uvs.shape == (8, 2)
    assert surface.colors.shape == (8, 4)


def test_meshes_outside_the_scene_are_left_out(tmp_path: Path) -> None:
    maker = two_squares()
    maker.json["scenes"] = [{"nodes": [1]}]
    assert len(GltfModel(maker.save(tmp_path)).vertices(0.0)[0]) == 4


def test_animations_by_name_and_index(tmp_path: Path) -> None:
    maker = two_squares()
    maker.animation("later", (1, "translation", [0.5, 3.5], [(0, 0, 0), (0, 1, 0)], "STEP"))
    path = maker.save(tmp_path)
    assert [(c.name, c.duration) for c in GltfModel(path).animations] == [("go", 2.0), ("later", 3.5)]
    assert GltfModel(path, "later").duration == GltfModel(path, 1).duration == 3.5
    assert GltfModel(path).name == "model"


@pytest.mark.parametrize(
    ("mode", "order", "expected"),
    [
        (4, [0, 1, 2, 0, 2, 3], [[0, 1, 2], [0, 2, 3]]),
        (4, [0, 1, 2, 3], [[0, 1, 2]]),
        (5, [0, 1, 3, 2], [[0, 1, 3], [1, 2, 3]]),
        (6, [0, 1, 2, 3], [[0, 1, 2], [0, 2, 3]]),
    ],
)
def test_lists_strips_and_fans(tmp_path: Path, mode: int, order: list[int], expected: list[list[int]]) -> None:
    maker = GltfMaker()
    maker.node(mesh=maker.mesh(SQUARE, order, mode=mode))
    model = GltfModel(maker.save(tmp_path))
    rolled = [[f[k:] + f[:k] for k in range(3)] for f in expected]  # where a triangle starts does not matter
    assert len(model.surface.faces) == len(expected)
    for face in model.surface.faces.tolist():
        assert any(face in turns for turns in rolled)
    near(model.vertices(0.0)[1][np.unique(expected)], [(0, 0, 1)] * len(np.unique(expected)))  # all turn the same way


def test_faces_without_indices(tmp_path: Path) -> None:
    maker = GltfMaker()
    maker.node(mesh=maker.mesh(SQUARE[[0, 1, 2, 0, 2, 3]]))
    assert GltfModel(maker.save(tmp_path)).surface.faces.tolist() == [[0, 1, 2], [3, 4, 5]]


# morph targets

LIFT = {"POSITION": [(0, 0, 1)] * 4, "NORMAL": [(1, 0, 0)] * 4}
WIDEN = {"POSITION": [(-1, 0, 0), (1, 0, 0), (1, 0, 0), (-1, 0, 0)]}


def morphing(**fields: list[float]) -> GltfMaker:
    """A square with two targets: lifted by one, and widened by one at both sides."""
    maker = GltfMaker()
    mesh = maker.mesh(SQUARE, SQUARE_FACES, targets=[LIFT, WIDEN], NORMAL=floats([(0, 0, 1)] * 4))
    maker.node(mesh=mesh, **fields)
    return maker


def test_morph_targets_rest_at_zero(tmp_path: Path) -> None:
    near(GltfModel(morphing().save(tmp_path)).vertices(0.0)[0], SQUARE)


def test_morph_weights_of_mesh_and_node(tmp_path: Path) -> None:
    maker = morphing()
    maker.json["meshes"][0]["weights"] = [0.5, 0.25]
    near(GltfModel(maker.save(tmp_path)).vertices(0.0)[0], SQUARE * (1.25, 1, 1) + (0, 0, 0.5))
    maker.json["nodes"][0]["weights"] = [0.0, 1.0]  # the node's own go before the mesh's
    near(GltfModel(maker.save(tmp_path)).vertices(0.0)[0], SQUARE * (2, 1, 1))


def test_morph_animation(tmp_path: Path) -> None:
    maker = morphing(weights=[1.0, 1.0])
    maker.animation("breathe", (0, "weights", [0, 2], [0, 0, 1, 2], "LINEAR"))
    model = GltfModel(maker.save(tmp_path))
    near(model.vertices(0.0)[0], SQUARE)
    near(model.vertices(1.0)[0], SQUARE * (2, 1, 1) + (0, 0, 0.5))
    near(model.vertices(2.0)[1], [(HALF, 0, HALF)] * 4)
    near(model.vertices(0.0)[0], SQUARE)  # posing leaves no trace


def test_morph_moves_before_its_node(tmp_path: Path) -> None:
    maker = morphing(weights=[1.0, 0.0], scale=[1, 1, 3])
    near(GltfModel(maker.save(tmp_path)).vertices(0.0)[0], SQUARE + (0, 0, 3))


# normals

TILTED = np.array([(0, 0, 0), (1, 0, -1), (1, 1, -1), (0, 1, 0)], np.float32)  # its normal is (1, 0, 1)


@pytest.mark.parametrize("scale", [(1, 1, 1), (4, 1, 1), (0.2, 3, 7), (2, 2, 0.1)])
def test_normals_stay_perpendicular_under_non_uniform_scale(tmp_path: Path, scale: tuple[float, float, float]) -> None:
    maker = GltfMaker()
    mesh = maker.mesh(TILTED, SQUARE_FACES, NORMAL=floats([(HALF, 0, HALF)] * 4))
    maker.node(mesh=mesh, scale=list(scale), rotation=[0.5, 0.5, 0.5, 0.5])
    positions, normals = GltfModel(maker.save(tmp_path)).vertices(0.0)
    for a, b in ((0, 1), (1, 2), (2, 3), (0, 2)):
        edge = positions[b] - positions[a]
        assert abs(float(normals[a] @ edge)) < 1e-5 * float(np.linalg.norm(edge))
    near(np.linalg.norm(normals, axis=1), np.ones(4))
    near(normals, vertex_normals(positions, SQUARE_FACES.reshape(-1, 3).astype(np.int32)), 1e-5)


def test_normals_of_a_mirrored_node_point_outward(tmp_path: Path) -> None:
    maker = GltfMaker()
    maker.node(mesh=maker.mesh(SQUARE, SQUARE_FACES, NORMAL=floats([(0, 0, 1)] * 4)), scale=[-1, 1, 1])
    near(GltfModel(maker.save(tmp_path)).vertices(0.0)[1], [(0, 0, 1)] * 4)


def test_cofactors_are_the_inverse_transpose_times_the_size_of_the_determinant() -> None:
    m = np.random.default_rng(0).normal(size=(20, 3, 3))
    expected = np.linalg.inv(m).transpose(0, 2, 1) * np.abs(np.linalg.det(m))[:, None, None]
    np.testing.assert_allclose(cofactors(m), expected, atol=1e-9)


def test_missing_normals_come_from_the_faces(tmp_path: Path) -> None:
    maker = GltfMaker()
    maker.node(mesh=maker.mesh(TILTED, SQUARE_FACES))
    near(GltfModel(maker.save(tmp_path)).vertices(0.0)[1], [(HALF, 0, HALF)] * 4)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_damaged_normals_stay_finite_and_unit(tmp_path: Path, bad: float) -> None:
    maker, given = GltfMaker(), floats([(0, 0, 1)] * 4)
    given[2] = (bad, 0, 1)
    maker.node(mesh=maker.mesh(SQUARE, SQUARE_FACES, NORMAL=given))
    _, normals = GltfModel(maker.save(tmp_path)).vertices(0.0)
    assert np.isfinite(normals).all()
    near(np.linalg.norm(normals, axis=1), np.ones(4), 1e-5)


def test_outputs_are_float32(tmp_path: Path) -> None:
    positions, normals = GltfModel(two_joint_strip().save(tmp_path)).vertices(0.3)
    assert positions.dtype == normals.dtype == np.float32
