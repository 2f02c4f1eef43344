"""The Blender backend against the package's rasteriser, where Blender or bpy is; else its messages and its copies of files."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from chronosplat.assets import PreparedSurface, rasterize_mesh
from chronosplat.assets.blender import VARIABLE, blender_command, lighting, one_animation, render_with_blender
from chronosplat.assets.lights import Lights, sun_and_sky
from chronosplat.assets.model import GltfModel
from chronosplat.cameras import orbit
from chronosplat.data.clips import pose_clip
from chronosplat.shapes import InputError, UnavailableError
from tests.assets.gltf_kit import full, loose, written
from tests.assets.gltf_maker import two_joint_strip

ASSETS = Path(__file__).parents[2].parent / "shared" / "assets"
SIZE = 256
NAMES = (
    "babylon_cannon",
    "kaykit_knight",
    "khronos_milk_truck",
    "khronos_rigged_figure",
    "sketchfab_butterfly",
)  # of rigs that Blender can hold


def is_there() -> bool:
    """Whether a Blender is installed."""
    try:
        blender_command()
    except UnavailableError:
        return False
    return True


needs_blender = pytest.mark.skipif(not is_there(), reason=f"Blender absent; install it, or let {VARIABLE} name a Python with bpy")


def centroids(alpha: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Centres of coverage [T, V, 2] of images [T, V, H, W] in pixels."""
    y, x = np.mgrid[: alpha.shape[2], : alpha.shape[3]] + 0.5
    mass = alpha.astype(float)
    return np.stack([(mass * x).sum((2, 3)), (mass * y).sum((2, 3))], -1) / mass.sum((2, 3))[..., None]


@needs_blender
@pytest.mark.skipif(not ASSETS.is_dir(), reason="shared/assets absent")
@pytest.mark.parametrize("name", NAMES)
def test_silhouettes_and_cameras_equal_the_rasteriser_s(name: str) -> None:
    path = ASSETS / f"{name}.glb"
    index = max(0, len(GltfModel(path).animations) - 1)
    model = GltfModel(path, index)
    seconds = np.array([0.37 * model.duration])
    poses, placement = pose_clip(model, seconds)
    cameras = orbit([20, 110], [0, 30], SIZE)
    cameras.Ks[:, :2, 2] += torch.tensor([9.0, -6.0])  # off-centre principal points
    viewmats, Ks = cameras.viewmats.numpy()[None], cameras.Ks.numpy()
    theirs = render_with_blender(path, index, seconds, viewmats, Ks, (SIZE, SIZE), placement.center, placement.scale, samples=64)
    ours = np.stack([rasterize_mesh(PreparedSurface(model.surface), placement.apply(p), n, cameras, None, 4, 1) for p, n in poses])
    assert theirs.shape == ours.shape
    a, b = theirs[..., 3] > 127, ours[..., 3] > 127
    overlap = (a & b).sum((2, 3)) / (a | b).sum((2, 3))
    assert overlap.min() >= 0.99, f"{name}: IoU {overlap.round(4).tolist()}"
    offset = np.abs(centroids(theirs[..., 3]) - centroids(ours[..., 3])).max()
    assert offset < 0.1, f"{name}: {offset:.3f} pixels"


@needs_blender
def test_time_and_view_change_the_image(tmp_path: Path) -> None:
    path, cameras = two_joint_strip().save(tmp_path), orbit([0, 40], 0.0, 64)
    viewmats = np.tile(cameras.viewmats.numpy(), (2, 1, 1, 1))
    images = render_with_blender(path, 0, np.array([0.1, 0.9]), viewmats, cameras.Ks.numpy(), (64, 64), np.float32([0, 1, 0]), 0.5)
    coverage = (images[..., 3] > 127).mean((2, 3))
    assert images.shape == (2, 2, 64, 64, 4)
    assert coverage.min() > 0.01
    assert (np.abs(np.diff(images[..., 3].astype(int), axis=0)) > 127).any()  # the strip bends
    assert (coverage[:, 1] < coverage[:, 0]).all()  # it is flat, and the second view is oblique


def test_without_blender_the_message_says_where_it_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UnavailableError, match=f"blender: not found on the path; install Blender, or set {VARIABLE}"):
        blender_command()
    monkeypatch.setenv(VARIABLE, "/nowhere/blender")
    with pytest.raises(UnavailableError, match=f"{VARIABLE}: no program /nowhere/blender"):
        blender_command()


def imitation(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a program in Blender's place."""
    program = folder / "blender"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv(VARIABLE, str(program))


@pytest.mark.parametrize(("script", "message"), [("echo 'Error: bad mesh' >&2; exit 1", "Error: bad mesh"), ("exit 0", "exit 0")])
def test_a_failing_blender_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str) -> None:
    imitation(tmp_path, monkeypatch, script)
    cameras = orbit([0], 0.0, 16)
    with pytest.raises(InputError, match=f"Blender cannot render it .{message}"):
        render_with_blender(
            full().save(tmp_path), 0, np.zeros(1), cameras.viewmats.numpy()[None], cameras.Ks.numpy(), (16, 16), np.zeros(3, np.float32), 1
        )


def test_oblong_pixels_are_refused(tmp_path: Path) -> None:
    cameras = orbit([0], 0.0, 16)
    Ks = cameras.Ks.numpy() * np.array([[1.0], [1.5], [1.0]])
    with pytest.raises(InputError, match="square pixels"):
        render_with_blender(full().save(tmp_path), 0, np.zeros(1), cameras.viewmats.numpy()[None], Ks, (16, 16), np.zeros(3, np.float32), 1)


def test_the_copy_has_one_animation_and_the_same_motion(tmp_path: Path) -> None:
    maker = full()
    maker.animation("rise", (1, "translation", [0, 1], [(0, 0, 0), (0, 3, 0)], "LINEAR"))
    (tmp_path / "given").mkdir()
    (tmp_path / "model.bin").write_bytes(maker.binary)
    (tmp_path / "copy").mkdir()
    for path in (maker.save(tmp_path), written(tmp_path, loose(maker, "model.bin"), "model.gltf")):
        for index in (0, 1):
            copy = GltfModel(one_animation(path, index, tmp_path / "copy"))
            assert [a.name for a in copy.animations] == [["bend", "rise"][index]]
            np.testing.assert_array_equal(copy.vertices(0.7)[0], GltfModel(path, index).vertices(0.7)[0])
        assert not GltfModel(one_animation(path, None, tmp_path / "copy")).animations


def test_lights_are_plain_numbers() -> None:
    for lights in (Lights(), sun_and_sky()):
        facts = json.loads(json.dumps(lighting(lights)))
        assert len(facts["suns"]) == len(lights.directions)
        np.testing.assert_allclose([s["radiance"] for s in facts["suns"]], lights.colors, rtol=1e-6)
        np.testing.assert_allclose(facts["world"]["sky"], lights.ambient + np.array(lights.sky), rtol=1e-6)
