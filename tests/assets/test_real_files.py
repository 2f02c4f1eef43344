"""Real animated files load and pose; skipped where the files are missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chronosplat.assets import GltfModel, PreparedSurface, rasterize_geometry, sun_and_sky
from chronosplat.cameras import orbit
from chronosplat.data.clips import pose_clip, render_clip

ASSETS = Path(__file__).parents[2].parent / "shared" / "assets"
FILES = sorted(ASSETS.glob("*.glb"))

pytestmark = pytest.mark.skipif(not ASSETS.is_dir(), reason="shared/assets absent")


def manifest() -> dict[str, dict[str, Any]]:
    """The facts of each file by its name."""
    return {row["file"]: row for row in json.loads((ASSETS / "manifest.json").read_text())}


def test_all_files_are_there() -> None:
    assert len(FILES) == 53


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_opens_and_poses(path: Path) -> None:
    model, facts = GltfModel(path), manifest()[path.name]
    surface, extents = model.surface, []
    instances = [n["mesh"] for n in model.file.items("nodes") if "mesh" in n]
    if len(set(instances)) == len(instances):
        assert len(surface.faces) == facts["triangles"]
    else:  # the manifest counts a mesh once, however many nodes show it
        assert len(surface.faces) > facts["triangles"]
    for t in (0.0, 0.4 * model.duration, model.duration):
        positions, normals = model.vertices(t)
        assert positions.shape == normals.shape == (len(surface.colors), 3)
        assert np.isfinite(positions).all()
        assert np.isfinite(normals).all()
        extents.append(np.ptp(positions, 0).max())
    assert min(extents) > 0
    assert 0 <= surface.faces.min() <= surface.faces.max() < len(surface.colors)
    assert surface.face_materials.max() < len(surface.materials)
    assert max(m.texture for m in surface.materials) < len(surface.textures)
    np.testing.assert_allclose(model._weights.sum(1), 1, atol=1e-5)
    assert [c.name for c in model.animations] == [a["name"] for a in facts["animations"]]
    for animation, given in zip(model.animations, facts["animations"], strict=True):
        assert animation.duration == pytest.approx(given["duration"], abs=1e-2)
    assert not model.animations or model.duration == model.animations[0].duration


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_both_shadings_cover_the_same(path: Path) -> None:
    model = GltfModel(path)
    ((positions, normals),), placement = pose_clip(model, np.array([0.4 * model.duration]))
    surface, placed, cameras = PreparedSurface(model.surface), placement.apply(positions), orbit([30, 200], 15.0, 40)
    plain = rasterize_geometry(surface, placed, normals, cameras)
    lit = rasterize_geometry(surface, placed, normals, cameras, lights=sun_and_sky(), shading="pbr")
    if all(material.alpha_mode == 0 for material in model.surface.materials):
        assert np.array_equal(plain.rgba[..., 3], lit.rgba[..., 3])
        assert np.array_equal(plain.parts, lit.parts)
        assert np.array_equal(plain.depth, lit.depth)
    covered = lit.rgba[..., 3] > 0
    assert covered.any()
    assert lit.rgba[covered][:, :3].std() > 1
    np.testing.assert_allclose(np.linalg.norm(lit.normals[covered], axis=-1), 1, atol=1e-5)
    assert set(np.unique(lit.parts[covered])) <= set(range(len(model.surface.parts)))


def test_the_husky_is_visible_and_moves() -> None:
    path = ASSETS / "q_animals_husky.glb"
    names = [c.name for c in GltfModel(path).animations]
    model = GltfModel(path, next(n for n in names if "Gallop" in n))
    images = render_clip(model, np.array([0.0, 0.3 * model.duration]), orbit([0, 90], 0.0, 48))[0]
    covered = (images[..., 3] > 0).mean((2, 3))
    assert (covered > 0.03).all()
    assert (covered < 0.6).all()
    assert (covered[:, 1] > covered[:, 0]).all()  # a dog is longer than wide, and looks down +z
    assert images[..., :3][images[..., 3] > 0].std() > 5
    assert (images[0] != images[1]).any()
