"""Defects of real files are repaired, each with one notice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from chronosplat.assets.model import GltfModel
from chronosplat.events import Events, Notice
from tests.assets.gltf_kit import square
from tests.assets.gltf_maker import SQUARE, SQUARE_FACES, GltfMaker, floats, two_joint_strip

UP = floats([(0, 0, 1)] * 4)


def facing() -> GltfMaker:
    """A square with normals."""
    maker = GltfMaker()
    maker.node(mesh=maker.mesh(SQUARE, SQUARE_FACES, NORMAL=UP))
    return maker


def animated(keys: list[float], values: list[tuple[float, ...]], path: str = "translation") -> GltfMaker:
    """The square, moved."""
    maker = facing()
    maker.animation("move", (0, path, keys, values, "LINEAR"))
    return maker


def notices(maker: GltfMaker, folder: Path) -> tuple[GltfModel, list[Notice]]:
    """A model and what reading it reported."""
    seen: list[Notice] = []
    return GltfModel(maker.save(folder), events=Events(seen.append)), seen


def lost_normal() -> GltfMaker:
    """A square, one of whose normals is zero."""
    maker = GltfMaker()
    maker.node(mesh=maker.mesh(SQUARE, SQUARE_FACES, NORMAL=floats([(0, 0, 1)] * 3 + [(0, 0, 0)])))
    return maker


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (square, "4 vertices without normals; computed from the faces"),
        (lost_normal, "1 vertices without normals; computed from the faces"),
        (lambda: two_joint_strip([(0.5, 0.2, 0, 0)] * 6), "6 vertices with skin weights that do not sum to one; normalised"),
        (lambda: two_joint_strip([(1, -1, 1, 0)] * 6), "6 vertices with negative skin weights repaired"),
        (lambda: animated([0.0], [(1, 2, 3)]), "1 animation without length; shown as a static pose"),
        (lambda: animated([1, 0], [(1, 0, 0), (0, 0, 0)]), "1 animation channels with unsorted key times; sorted"),
    ],
)
def test_one_notice_names_file_and_count(tmp_path: Path, make: Callable[[], GltfMaker], text: str) -> None:
    model, seen = notices(make(), tmp_path)
    assert (f"{model.file.path}: {text}", "warning", "asset-repaired") in [(str(n), n.level, n.code) for n in seen]


def test_a_sound_file_gives_no_notice(tmp_path: Path) -> None:
    for k, maker in enumerate((facing(), two_joint_strip(), animated([0, 1], [(0, 0, 0), (1, 0, 0)]))):
        (tmp_path / str(k)).mkdir()
        assert not notices(maker, tmp_path / str(k))[1]


def test_what_is_repaired_is_right(tmp_path: Path) -> None:
    np.testing.assert_allclose(notices(lost_normal(), tmp_path)[0].vertices(0)[1], UP, atol=1e-6)
    model = notices(animated([1, 0], [(1, 0, 0), (0, 0, 0)]), tmp_path)[0]
    assert model.vertices(0.25)[0][0, 0] == pytest.approx(SQUARE[0, 0] + 0.25)
    model = notices(animated([0.0], [(1, 2, 3)]), tmp_path)[0]
    assert model.duration == 0
    np.testing.assert_allclose(model.vertices(5.0)[0], SQUARE + (1, 2, 3), atol=1e-6)


def test_rotations_without_length_are_identities(tmp_path: Path) -> None:
    model = GltfModel(animated([0, 1], [(0, 0, 0, 0), (0, 0, 0, 2)], "rotation").save(tmp_path))
    for seconds in (0.0, 0.5, 1.0):
        np.testing.assert_allclose(model.vertices(seconds)[0], SQUARE, atol=1e-6)


def test_joints_outside_the_scene_are_posed(tmp_path: Path) -> None:
    maker = two_joint_strip()
    maker.json["scenes"] = [{"nodes": [0]}]
    np.testing.assert_allclose(GltfModel(maker.save(tmp_path)).vertices(0.0)[0][4], (-0.5, 2, 0), atol=1e-6)
