"""Copies of a mesh (EXT_mesh_gpu_instancing), against the same copies as nodes of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chronosplat.assets.model import GltfModel
from tests.assets.gltf_kit import refusal
from tests.assets.gltf_maker import SQUARE, SQUARE_FACES, GltfMaker, floats, two_joint_strip

RNG = np.random.default_rng(3)
TRANSLATION, SCALE = RNG.normal(size=(3, 3)), np.array([(1, 2, 3), (-1, 1, 1), (0.5, 0.5, 0.5)])  # the second one mirrors
ROTATION = np.array([(0, 0, 0, 1), (0.5, 0.5, 0.5, 0.5), (0.6, 0, 0, 0.8)])
COPIES = {"TRANSLATION": TRANSLATION, "ROTATION": ROTATION, "SCALE": SCALE}


def flower(copies: dict[str, Any] | None = COPIES) -> GltfMaker:
    """A morphed square in a node that moves: shown by the extension, or three times as its children."""
    maker = GltfMaker()
    target = {"POSITION": RNG.normal(size=(4, 3)), "NORMAL": np.zeros((4, 3))}
    mesh = maker.mesh(SQUARE, SQUARE_FACES, [target], NORMAL=floats([(0, 0, 1)] * 4))
    maker.node(scale=[1, 1, 2])
    weights = (0, "weights", [0, 1], [0.0, 1.0], "LINEAR")
    if copies is None:
        maker.json["nodes"][0]["children"] = [1, 2, 3]
        for i in range(3):
            maker.node(mesh=mesh, **{name.lower(): rows[i].tolist() for name, rows in COPIES.items()})
        weights = [(k, *weights[1:]) for k in (1, 2, 3)]
    else:
        attributes = {name: maker.accessor(rows) for name, rows in copies.items()}
        maker.json["nodes"][0] |= {"mesh": mesh, "extensions": {"EXT_mesh_gpu_instancing": {"attributes": attributes}}}
        maker.json["extensionsRequired"] = ["EXT_mesh_gpu_instancing"]
        weights = [weights]
    maker.animation("grow", (0, "translation", [0, 1], [(0, 0, 0), (1, 2, 3)], "LINEAR"), *weights)
    return maker


@pytest.mark.parametrize("turned", [{}, {"rotation": [0, 0.6, 0, 0.8], "scale": [1, -1, 1]}])
def test_copies_equal_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turned: dict[str, Any]) -> None:
    models = []
    for name, copies in (("one", COPIES), ("three", None)):
        monkeypatch.setattr(f"{__name__}.RNG", np.random.default_rng(5))
        maker = flower(copies)
        maker.json["nodes"][0] |= turned
        models.append(GltfModel(maker.save(tmp_path, f"{name}.glb")))
    one, three = (model.surface for model in models)
    order = np.argsort([part.node for part in three.parts])  # the walk through the nodes ends with the first child
    rows = np.concatenate([np.flatnonzero(three.face_parts == part) for part in order])
    assert len(one.faces) == 6
    assert len(one.parts) == 1
    for seconds in (0.0, 0.7):
        (a, m), (b, n) = (model.vertices(seconds) for model in models)
        np.testing.assert_allclose(a[one.faces], b[three.faces[rows]], atol=1e-5)  # winding included
        np.testing.assert_allclose(m[one.faces], n[three.faces[rows]], atol=1e-5)


def test_what_is_left_out_is_the_identity_and_integers_are_normalised(tmp_path: Path) -> None:
    turns = np.array([(0, 0, 0, 127), (0, 0, 127, 0)], np.int8)  # the second one by half a turn about z
    maker = flower({"_ID": np.array([4, 7], np.uint16)})
    maker.json["nodes"][0]["extensions"]["EXT_mesh_gpu_instancing"]["attributes"]["ROTATION"] = maker.accessor(turns, normalized=True)
    positions, _ = GltfModel(maker.save(tmp_path)).vertices(0.0)
    np.testing.assert_allclose(positions[:4], SQUARE, atol=1e-6)
    np.testing.assert_allclose(positions[4:], SQUARE * (-1, -1, 1), atol=1e-6)


def test_no_copies_are_nothing_to_render(tmp_path: Path) -> None:
    assert "has no triangles to render" in refusal(flower({"TRANSLATION": np.zeros((0, 3))}).save(tmp_path))


def test_a_skinned_mesh_is_shown_once(tmp_path: Path) -> None:
    maker = two_joint_strip()
    plain = GltfModel(maker.save(tmp_path, "plain.glb")).vertices(0.5)[0]
    attributes = {"TRANSLATION": maker.accessor(floats(TRANSLATION))}
    maker.json["nodes"][0]["extensions"] = {"EXT_mesh_gpu_instancing": {"attributes": attributes}}
    np.testing.assert_array_equal(GltfModel(maker.save(tmp_path)).vertices(0.5)[0], plain)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ROTATION": ROTATION[:2]}, "damaged: the instances of node 0 have 2 and 3 elements"),
        ({"SCALE": ROTATION}, "an instance's SCALE has 4 numbers for each element; expected 3"),
        ({"SCALE": SCALE * np.nan}, "an instance's SCALE holds 9 NaN or infinite values"),
    ],
)
def test_damaged_copies_are_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    assert words in refusal(flower(COPIES | change).save(tmp_path))


def test_copies_without_end_are_refused(tmp_path: Path) -> None:
    maker = flower()
    for index in maker.json["nodes"][0]["extensions"]["EXT_mesh_gpu_instancing"]["attributes"].values():
        del maker.json["accessors"][index]["bufferView"]
        maker.json["accessors"][index]["count"] = 10**7
    assert "has 40,000,000 vertices; at most 4,000,000 are read" in refusal(maker.save(tmp_path))
    maker.json["nodes"][0]["extensions"]["EXT_mesh_gpu_instancing"]["attributes"] = 3
    assert "damaged" in refusal(maker.save(tmp_path))
