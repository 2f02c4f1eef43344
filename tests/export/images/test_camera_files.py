"""Cameras from files: captures, transforms JSON, and camera paths in nerfstudio's form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chronosplat.cameras import Cameras, intrinsics, orbit_pose
from chronosplat.captures import Views, load_cameras, load_capture, save_transforms
from chronosplat.captures.transforms import transforms_json
from chronosplat.export import RenderOptions
from chronosplat.export.images.camera_files import file_shots
from chronosplat.export.images.keyframes import Key, interpolated
from chronosplat.scenes import quats_to_matrices
from chronosplat.shapes import InputError
from tests.scene_kit import SECONDS, law, moving_scene, quaternions, random_cameras, static_scene

POSES = [orbit_pose(azimuth, 20) for azimuth in (0, 40, 80)]


def entry(pose: torch.Tensor = POSES[0], **more: Any) -> dict[str, Any]:
    """One camera of a camera path."""
    return {"camera_to_world": pose.flatten().tolist(), "fov": 40.0, "aspect": 1.5} | more


def written(path: Path, **meta: Any) -> str:
    """A camera path as a file."""
    path.write_text(json.dumps({"render_width": 60, "render_height": 40, "fps": 12, "seconds": 0.5} | meta))
    return str(path)


def a_capture(folder: Path) -> Views:
    """Four views with a time each, of odd intrinsics, written as a capture."""
    cameras = random_cameras(4, width=16, height=8)
    views = Views(torch.rand(4, 8, 16, 3), torch.ones(4, 8, 16, 1), cameras, torch.linspace(*SECONDS, 4).double())
    save_transforms(views, folder, "train")
    return views


def test_the_cameras_of_a_capture_are_those_of_its_views(tmp_path: Path) -> None:
    a_capture(tmp_path)
    views = load_capture(tmp_path)
    cameras, times = load_cameras(tmp_path)
    assert times is not None
    torch.testing.assert_close(cameras.viewmats.float(), views.cameras.viewmats, rtol=0, atol=1e-6)
    torch.testing.assert_close(cameras.Ks.float(), views.cameras.Ks, rtol=1e-6, atol=1e-5)
    assert torch.equal(times, views.times)
    found = file_shots(moving_scene(), RenderOptions(cameras=str(tmp_path)))
    assert torch.equal(found.cameras.viewmats, cameras.viewmats)
    assert found.times == tuple(views.times.tolist())
    assert len(file_shots(moving_scene(), RenderOptions(cameras=str(tmp_path), frames=2))) == 2


def test_corrected_cameras_need_no_images(tmp_path: Path) -> None:
    views = a_capture(tmp_path)
    (tmp_path / "cameras.json").write_text(json.dumps(transforms_json(views)))
    found = file_shots(moving_scene(), RenderOptions(cameras=str(tmp_path / "cameras.json")))
    torch.testing.assert_close(found.cameras.viewmats, views.cameras.viewmats, rtol=0, atol=1e-9)
    larger = file_shots(moving_scene(), RenderOptions(cameras=str(tmp_path / "cameras.json"), size=80)).cameras
    assert (larger.width, larger.height) == (160, 80)
    torch.testing.assert_close(larger.Ks[:, :2], found.cameras.Ks[:, :2] * 10)


def test_cameras_without_times_play_the_scene(tmp_path: Path) -> None:
    a_capture(tmp_path)
    meta = json.loads((tmp_path / "transforms_train.json").read_text())
    for frame in meta["frames"]:
        del frame["time"], frame["timestamp"]
    (tmp_path / "transforms_train.json").write_text(json.dumps(meta))
    assert load_cameras(tmp_path)[1] is None
    found = file_shots(moving_scene(), RenderOptions(cameras=str(tmp_path), fps=10, speed=0.5))
    assert found.times == pytest.approx([SECONDS[0] + 0.05 * i for i in range(4)])
    assert file_shots(static_scene(), RenderOptions(cameras=str(tmp_path))).times == (0.0,) * 4


def test_a_camera_path_is_read_as_it_stands(tmp_path: Path) -> None:
    times = [2.5, 3.0, 3.5]
    listed = [entry(pose, render_time=t) for pose, t in zip(POSES, times, strict=True)]
    path = written(tmp_path / "path.json", camera_path=listed, keyframes=[entry()])
    found = file_shots(moving_scene(), RenderOptions(cameras=path))
    expected = Cameras.from_opengl_c2w(torch.stack(POSES), intrinsics(60, 40, 40.0).expand(3, 3, 3), 60, 40)
    assert torch.equal(found.cameras.viewmats, expected.viewmats)
    assert torch.equal(found.cameras.Ks, expected.Ks)
    assert (found.times, found.fps) == ((2.5, 3.0, 3.5), 12)
    assert set(file_shots(moving_scene(), RenderOptions(cameras=path, at=2.75)).times) == {2.75}
    square = file_shots(moving_scene(), RenderOptions(cameras=path, size=80, width=80)).cameras
    torch.testing.assert_close(square.Ks[0], intrinsics(80, 80, 40.0))


def test_keyframes_are_interpolated_where_there_is_no_path(tmp_path: Path) -> None:
    path = written(tmp_path / "keys.json", camera_path=[], keyframes=[{"matrix": p.flatten().tolist(), "fov": 30} for p in POSES])
    found = file_shots(moving_scene(), RenderOptions(cameras=path, frames=5))
    torch.testing.assert_close(found.cameras.to_opengl_c2w()[::2], torch.stack(POSES), rtol=0, atol=1e-9)
    assert len(file_shots(moving_scene(), RenderOptions(cameras=path))) == 6  # half a second at 12 a second


@law
@given(st.lists(quaternions(), min_size=2, max_size=4), st.integers(2, 9), st.booleans())
def test_interpolated_poses_are_rigid_and_meet_their_keyframes(quats: list[torch.Tensor], frames: int, is_cycle: bool) -> None:
    keys = []
    for index, quat in enumerate(quats):
        pose = torch.eye(4, dtype=torch.float64)
        pose[:3, :3], pose[:3, 3] = quats_to_matrices(quat), torch.tensor([index, index**2, 1.0])
        keys.append(Key(pose, 30.0 + index, float(index)))
    found = interpolated(keys, frames, is_cycle)
    assert len(found) == frames
    for key in found:
        torch.testing.assert_close(key.pose[:3, :3] @ key.pose[:3, :3].T, torch.eye(3).double(), rtol=0, atol=1e-9)
    torch.testing.assert_close(found[0].pose, keys[0].pose, rtol=0, atol=1e-9)
    if not is_cycle:
        torch.testing.assert_close(found[-1].pose, keys[-1].pose, rtol=0, atol=1e-9)
        assert (found[-1].fov, found[-1].time) == (keys[-1].fov, keys[-1].time)


def test_a_straight_path_stays_straight() -> None:
    keys = []
    for x in range(4):
        pose = torch.eye(4, dtype=torch.float64)
        pose[0, 3] = x
        keys.append(Key(pose, 50.0))
    inner = interpolated(keys, 31)[10:21]  # between the middle keyframes
    assert [float(key.pose[0, 3]) for key in inner] == pytest.approx([1 + 0.1 * i for i in range(11)])


BENT = torch.eye(4)
BENT[0, 0] = 2
BAD: dict[str, tuple[Any, str]] = {
    "neither": ({"points": []}, "not a camera path; expected camera_path (nerfstudio) or frames (transforms JSON)"),
    "a list": ([1, 2], "not a camera path"),
    "no cameras": ({"camera_path": [], "keyframes": []}, "expected at least one camera"),
    "not an object": ({"camera_path": [3]}, "camera_path[0]: expected an object, got 3"),
    "15 numbers": ({"camera_path": [entry() | {"camera_to_world": [0.0] * 15}]}, "camera_path[0]: expected camera_to_world as 16 numbers"),
    "words": ({"camera_path": [entry() | {"camera_to_world": ["a"] * 16}]}, "expected camera_to_world as 16 numbers"),
    "scaled": ({"camera_path": [entry(BENT)]}, "camera_path[0]: its pose is not a rigid transform"),
    "by columns": (
        {"camera_path": [entry(POSES[1].T)]},
        "not a rigid transform (scaled, sheared, mirrored, not finite, or column by column)",
    ),
    "no fov": ({"camera_path": [entry(fov="wide")]}, 'camera_path[0].fov: expected a positive number, got "wide"'),
    "flat fov": ({"camera_path": [entry(fov=180)]}, "camera_path[0].fov: expected degrees below 180, got 180"),
    "some times": ({"camera_path": [entry(render_time=3.0), entry()]}, "only some cameras have a render_time"),
    "a time outside": ({"camera_path": [entry(render_time=0.0)]}, "times: 0 s lies outside the scene, which spans 2.5 to 3.5 s"),
    "fisheye": ({"camera_path": [entry()], "camera_type": "fisheye"}, "camera_type: expected perspective, got 'fisheye'"),
    "no rate": ({"camera_path": [entry()], "fps": 0}, "fps: expected a positive number, got 0"),
    "endless": ({"keyframes": [entry()], "seconds": 1e9}, "more than 1000000"),
    "transforms without poses": ({"frames": [{}], "w": 4, "h": 4}, "frame 0 has no pose"),
}


@pytest.mark.parametrize(("meta", "problem"), BAD.values(), ids=list(BAD))
def test_bad_files_are_refused(tmp_path: Path, meta: Any, problem: str) -> None:
    (tmp_path / "bad.json").write_text(json.dumps(meta))
    with pytest.raises(InputError) as error:
        file_shots(moving_scene(), RenderOptions(cameras=str(tmp_path / "bad.json")))
    assert problem in str(error.value)


def test_missing_files_and_broken_json_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing: no such file or folder"):
        file_shots(moving_scene(), RenderOptions(cameras=str(tmp_path / "nothing")))
    (tmp_path / "bad.json").write_text('{"camera_path": [')
    with pytest.raises(InputError, match="not valid JSON"):
        file_shots(moving_scene(), RenderOptions(cameras=str(tmp_path / "bad.json")))
