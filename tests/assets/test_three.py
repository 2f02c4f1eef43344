"""Vertices against three.js, an independent evaluator of glTF animation. Install it with ``npm ci`` in tests/assets/three."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from chronosplat.assets.model import GltfModel
from tests.assets.gltf_maker import GltfMaker, two_joint_strip

HERE = Path(__file__).parent / "three"
ASSETS = Path(__file__).parents[2].parent / "shared" / "assets"
# rigid, skinned and morphed; with several primitives, animations, skins and nodes of one mesh
NAMES = (
    "babylon_desk_fan", "gdquest_mannequiny", "godot_enemy", "kaykit_knight", "khronos_milk_truck", "khronos_morph_stress",
    "khronos_rigged_figure", "q_animals_wolf", "q_tank_tank", "sketchfab_butterfly", "sketchfab_cat", "sketchfab_robot_mantis",
)  # fmt: skip
TIMES = (0.0, 0.2, 0.45, 0.7, 1.0)  # of the duration
TOLERANCE = 1e-5  # of the object's size

pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="node absent"),
    pytest.mark.skipif(not (HERE / "node_modules" / "three").is_dir(), reason="three.js absent; run npm ci in tests/assets/three"),
]


def evaluated(jobs: list[dict[str, Any]]) -> list[Any]:
    """What three.js gives for jobs {file, animation, times}."""
    ran = subprocess.run(["node", HERE / "evaluate.mjs"], input=json.dumps(jobs), capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def in_our_order(model: GltfModel, parts: list[dict[str, Any]]) -> NDArray[np.float64]:
    """The vertices of three.js in the order of the model's vertex table."""
    found = {(part["node"], part["primitive"]): np.array(part["positions"]).reshape(-1, 3) for part in parts}
    nodes, meshes = model.file.items("nodes"), model.file.items("meshes")
    shown = [node for node in model.skeleton.order if "mesh" in nodes[node]]
    return np.concatenate([found.pop((node, k)) for node in shown for k in range(len(meshes[nodes[node]["mesh"]]["primitives"]))])


def last_animation(path: Path) -> int:
    """The index of a file's last animation, which is rarely a pose at rest."""
    return max(0, len(GltfModel(path).animations) - 1)


@cache
def of_all_assets() -> dict[str, tuple[GltfModel, list[float], Any]]:
    """Model, seconds and three.js's vertices of every asset, by one process."""
    models = {name: GltfModel(path, last_animation(path)) for name in NAMES if (path := ASSETS / f"{name}.glb")}
    seconds = {name: [t * model.duration for t in TIMES] for name, model in models.items()}
    jobs = [{"file": str(ASSETS / f"{n}.glb"), "animation": len(m.animations) - 1, "times": seconds[n]} for n, m in models.items()]
    return {name: (models[name], seconds[name], result) for name, result in zip(models, evaluated(jobs), strict=True)}


@pytest.mark.skipif(not ASSETS.is_dir(), reason="shared/assets absent")
@pytest.mark.parametrize("name", NAMES)
def test_vertices_of_real_files(name: str) -> None:
    model, seconds, results = of_all_assets()[name]
    for t, parts in zip(seconds, results, strict=True):
        expected, (positions, _) = in_our_order(model, parts), model.vertices(t)
        assert positions.shape == expected.shape
        error = float(np.abs(positions - expected).max()) / float(np.ptp(expected, 0).max())
        assert error < TOLERANCE, f"{name} at {t:.3f} s: {error:.2e}"


def test_the_comparison_sees_a_difference(tmp_path: Path) -> None:
    path = two_joint_strip().save(tmp_path)
    early, late = evaluated([{"file": str(path), "animation": 0, "times": [0.1, 0.9]}])[0]
    model = GltfModel(path)
    np.testing.assert_allclose(model.vertices(0.1)[0], in_our_order(model, early), atol=1e-6)
    np.testing.assert_allclose(model.vertices(0.9)[0], in_our_order(model, late), atol=1e-6)
    assert np.abs(in_our_order(model, early) - in_our_order(model, late)).max() > 0.5


@pytest.mark.parametrize("path", ["translation", "rotation", "scale"])
@pytest.mark.parametrize("interpolation", ["LINEAR", "STEP", "CUBICSPLINE"])
def test_interpolation(tmp_path: Path, path: str, interpolation: str) -> None:
    rng, maker = np.random.default_rng(7), GltfMaker()
    maker.node(mesh=maker.mesh(rng.normal(size=(9, 3))), translation=[1, 2, 3], scale=[1, 2, 0.5], children=[1])
    maker.node(mesh=maker.mesh(rng.normal(size=(6, 3))), rotation=[0.5, 0.5, -0.5, 0.5])
    values = rng.normal(size=(4, 3, 4 if path == "rotation" else 3))
    if path == "rotation":
        values /= np.linalg.norm(values, axis=2, keepdims=True)
    given = values.reshape(12, -1) if interpolation == "CUBICSPLINE" else values[:, 1]
    maker.animation("move", (0, path, [0.25, 0.5, 1.5, 2.0], given, interpolation))
    file, times = maker.save(tmp_path), [0.1, 0.3, 0.9, 1.7]
    model = GltfModel(file)
    for t, parts in zip(times, evaluated([{"file": str(file), "animation": 0, "times": times}])[0], strict=True):
        np.testing.assert_allclose(model.vertices(t)[0], in_our_order(model, parts), atol=2e-6)
