"""PLY sequences: one numbered file per time step, with the Gaussians visible then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from chronosplat.export import export, read_ply
from chronosplat.scenes import Gaussians3D, Scene
from tests.scene_kit import SECONDS, moving_scene, sequence_scene, static_scene, tilted_world


def write_sequence(scene: Scene, folder: Path, frames: int = 24) -> list[Path]:
    """Write a folder in the capture's coordinates."""
    return sorted(export(scene, folder, up="capture", times=frames).glob("*.ply"))


def assert_written(path: Path, expected: Gaussians3D) -> None:
    """A PLY that holds these Gaussians."""
    found = read_ply(path)
    assert found.num_gaussians == expected.num_gaussians
    torch.testing.assert_close(found.means, expected.means, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.opacities, expected.opacities, rtol=1e-4, atol=1e-6)


def seen(scene: Gaussians3D) -> Gaussians3D:
    """What is at least one step of 255 opaque."""
    keep = scene.opacities * 255 >= 1
    return scene.map(lambda x: x[keep])


def test_files_are_numbered_with_leading_zeros(tmp_path: Path) -> None:
    paths = write_sequence(moving_scene(), tmp_path / "new" / "ply", frames=12)
    names = [f"frame_{i:04d}.ply" for i in range(12)]
    assert names[0] == "frame_0000.ply"
    assert [p.name for p in paths] == names
    assert sorted(p.name for p in (tmp_path / "new" / "ply").iterdir()) == [*names, "frame_times.json"]


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_linear_motion_is_written_at_evenly_spaced_times(tmp_path: Path, frames: int) -> None:
    scene = moving_scene(world=tilted_world())
    paths = write_sequence(scene, tmp_path, frames)
    assert len(paths) == frames
    first, last = SECONDS
    for i, path in enumerate(paths):
        assert_written(path, seen(scene.at(first + (last - first) * i / max(frames - 1, 1))))


def test_a_sequence_writes_its_own_frames(tmp_path: Path) -> None:
    scene = sequence_scene(frames=3, world=tilted_world())
    paths = write_sequence(scene, tmp_path, frames=24)
    assert [p.name for p in paths] == ["frame_0000.ply", "frame_0001.ply", "frame_0002.ply"]
    for i, path in enumerate(paths):
        assert_written(path, scene.frame(i).in_world())


def test_a_static_scene_writes_one_file(tmp_path: Path) -> None:
    scene = static_scene(world=tilted_world())
    (path,) = write_sequence(scene, tmp_path, frames=24)
    assert_written(path, scene.in_world())


def test_invisible_gaussians_are_left_out(tmp_path: Path) -> None:
    scene = moving_scene(3)
    fading = replace(
        scene,
        opacities=torch.tensor([0.9, 0.9, 1 / 256]),
        time_centers=torch.tensor([-1.0, 1.0, 0.0]),
        time_sigmas=torch.tensor([0.1, 0.1, 100.0]),
    )
    paths = write_sequence(fading, tmp_path, frames=3)
    assert [read_ply(p).num_gaussians for p in paths] == [1, 0, 1]
    torch.testing.assert_close(read_ply(paths[0]).means, fading.means[:1], rtol=0, atol=1e-6)
    torch.testing.assert_close(read_ply(paths[2]).means, fading.means[1:2], rtol=0, atol=1e-6)


def test_the_visibility_threshold_is_inclusive(tmp_path: Path) -> None:
    scene = replace(static_scene(3), opacities=torch.tensor([1 / 255, 1 / 256, 1 / 254]))
    (path,) = write_sequence(scene, tmp_path)
    torch.testing.assert_close(read_ply(path).opacities, torch.tensor([1 / 255, 1 / 254]), rtol=1e-4, atol=0)


def test_a_shorter_sequence_leaves_no_frames_of_a_longer_one(tmp_path: Path) -> None:
    for frames in (5, 2):
        assert len(write_sequence(moving_scene(), tmp_path / "s", frames)) == frames
    assert sorted(p.name for p in (tmp_path / "s").iterdir()) == ["frame_0000.ply", "frame_0001.ply", "frame_times.json"]
