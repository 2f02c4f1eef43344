"""Transforms JSON: both forms are read, written captures come back, and damage is named."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from chronosplat import InputError, load_capture
from chronosplat.cameras import orbit, orbit_pose
from chronosplat.captures import Views, save_transforms


def write_pictures(folder: Path, names: list[str], size: int = 16, mode: str = "RGBA") -> None:
    rng = np.random.default_rng(0)
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (size, size, len(mode)), np.uint8), mode).save(path)


def blender_form(folder: Path, **extra: Any) -> dict[str, Any]:
    """A D-NeRF capture of three frames on disk, and its JSON."""
    write_pictures(folder, [f"train/r_{i}.png" for i in range(3)])
    frames = [{"file_path": f"./train/r_{i}", "time": i / 2, "transform_matrix": orbit_pose(40 * i, 10, 2.0).tolist()} for i in range(3)]
    meta = {"camera_angle_x": 0.7, "frames": frames, **extra}
    (folder / "transforms_train.json").write_text(json.dumps(meta))
    return meta


def test_blender_form_with_times(tmp_path: Path) -> None:
    blender_form(tmp_path)
    views = load_capture(tmp_path)
    assert views.times.tolist() == [0.0, 0.5, 1.0]
    assert views.cameras.Ks[0, 0, 0].item() == pytest.approx(8 / math.tan(0.35))
    torch.testing.assert_close(views.cameras.to_opengl_c2w()[1], orbit_pose(40, 10, 2.0).float())
    expected = np.asarray(Image.open(tmp_path / "train/r_0.png"), np.float32) / 255
    assert np.array_equal(views.images[0].numpy(), expected[..., :3])
    assert np.array_equal(views.alphas[0].numpy(), expected[..., 3:])


def test_duration_turns_times_into_seconds(tmp_path: Path) -> None:
    blender_form(tmp_path, duration=2.5)
    assert load_capture(tmp_path).times.tolist() == [0.0, 1.25, 2.5]


def test_nerfstudio_form_with_masks_and_intrinsics_of_each_frame(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["images/a.png", "images/b.png"], mode="RGB")
    mask = np.zeros((16, 16), np.uint8)
    mask[4:12, 4:12] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    frame = {"mask_path": "mask.png", "transform_matrix": np.eye(4).tolist()}
    frames = [
        {**frame, "file_path": "images/a.png", "timestamp": 3.0},
        {**frame, "file_path": "images/b.png", "timestamp": 4.5, "fl_x": 50},
    ]
    meta = {"w": 32, "h": 32, "fl_x": 40, "fl_y": 44, "cx": 15, "cy": 17, "frames": frames}
    (tmp_path / "transforms.json").write_text(json.dumps(meta))
    views = load_capture(tmp_path)
    assert views.times.tolist() == [3.0, 4.5]
    # the images are half the size that the intrinsics are for
    torch.testing.assert_close(views.cameras.Ks[0], torch.tensor([[20.0, 0, 7.5], [0, 22, 8.5], [0, 0, 1]]))
    assert views.cameras.Ks[1, 0, 0].item() == 25.0
    assert np.array_equal(views.alphas[0, ..., 0].numpy(), mask / 255)


def test_splits_by_file_and_by_list(tmp_path: Path) -> None:
    meta = blender_form(tmp_path)
    meta["frames"] = meta["frames"][:1]
    (tmp_path / "transforms_test.json").write_text(json.dumps(meta))
    assert (len(load_capture(tmp_path)), len(load_capture(tmp_path, split="test"))) == (3, 1)
    listed = blender_form(tmp_path) | {"val_filenames": ["./train/r_2"]}
    (tmp_path / "transforms.json").write_text(json.dumps(listed))
    assert load_capture(tmp_path / "transforms.json", split="val").times.tolist() == [1.0]


def test_images_without_alpha_on_a_uniform_background(tmp_path: Path) -> None:
    blender_form(tmp_path)
    picture = np.full((16, 16, 3), (0, 255, 0), np.uint8)
    picture[5:11, 5:11] = (200, 30, 40)
    for i in range(3):
        Image.fromarray(picture).save(tmp_path / f"train/r_{i}.png")
    views = load_capture(tmp_path)
    assert "uniform background rgb(0, 255, 0)" in str(views.notices[0])
    inside = torch.zeros(16, 16)
    inside[5:11, 5:11] = 1
    torch.testing.assert_close(views.alphas[0, ..., 0], inside)


def test_no_times_is_a_static_capture_and_says_so(tmp_path: Path) -> None:
    meta = blender_form(tmp_path)
    for frame in meta["frames"]:
        del frame["time"]
    (tmp_path / "transforms_train.json").write_text(json.dumps(meta))
    views = load_capture(tmp_path)
    assert views.times.tolist() == [0.0, 0.0, 0.0]
    assert any(notice.code == "static-capture" for notice in views.notices)


def test_size_resizes_images_and_cameras(tmp_path: Path) -> None:
    blender_form(tmp_path)
    views = load_capture(tmp_path, size=8)
    assert views.images.shape == (3, 8, 8, 3)
    assert views.cameras.Ks[0, 0, 0].item() == pytest.approx(4 / math.tan(0.35))
    assert views.notices == ()


def test_save_and_load_is_identity_up_to_the_turn_of_the_world(tmp_path: Path) -> None:
    rng = torch.Generator().manual_seed(0)
    rgba = (torch.rand(4, 16, 16, 4, generator=rng) * 255).round() / 255
    times = torch.tensor([0.0, 0.4, 0.8, 1.6], dtype=torch.float64)
    views = Views(rgba[..., :3], rgba[..., 3:], orbit([0, 80, 170, 250], 15, 16), times, torch.tensor([0.0, 1.0, 0.0]))
    save_transforms(views, tmp_path)
    back = load_capture(tmp_path)
    torch.testing.assert_close(back.images, views.images)
    torch.testing.assert_close(back.alphas, views.alphas)
    torch.testing.assert_close(back.times, views.times)
    y_up_to_z_up = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    torch.testing.assert_close(back.cameras.centers, views.cameras.centers @ y_up_to_z_up.T)
    torch.testing.assert_close(back.cameras.Ks, views.cameras.Ks)
    assert back.up is not None
    assert back.up.tolist() == [0, 0, 1]


def change(meta: dict[str, Any], what: str) -> dict[str, Any]:
    """One kind of damage to a capture."""
    first = meta["frames"][0]
    if what == "no frames":
        return {**meta, "frames": []}
    if what == "not a capture":
        return {"cameras": 3}
    if what == "no pose":
        del first["transform_matrix"]
    if what == "sheared pose":
        first["transform_matrix"][0][1] += 0.5
    if what == "mirrored pose":
        first["transform_matrix"] = np.diag([-1.0, 1, 1, 1]).tolist()
    if what == "NaN pose":
        first["transform_matrix"][0][3] = math.nan
    if what == "short pose":
        first["transform_matrix"] = [[1, 0, 0]]
    if what == "negative focal length":
        meta["fl_x"] = -4
    if what == "angle of zero":
        meta["camera_angle_x"] = 0
    if what == "no intrinsics":
        del meta["camera_angle_x"]
    if what == "missing picture":
        first["file_path"] = "./train/other"
    if what == "no picture named":
        del first["file_path"]
    if what == "one time missing":
        del first["time"]
    if what == "time that is a string":
        first["time"] = "early"
    if what == "timestamp that is no number":
        for frame in meta["frames"]:
            frame["timestamp"] = None
    if what == "focal length that is a string":
        first["fl_x"] = "50"
    if what == "focal length that is true":
        meta["fl_x"] = True
    if what == "no duration":
        meta["duration"] = None
    if what == "infinite size":
        meta["w"] = math.inf
    if what == "frame that is no object":
        meta["frames"][1] = "./train/r_1"
    if what == "file path that is a number":
        first["file_path"] = 7
    if what == "split that is no list":
        meta["train_filenames"] = 3
    return meta


DAMAGE = {
    "no frames": "has no frames in split 'train'",
    "not a capture": "not a capture; expected an object with a list of frames",
    "no pose": "frame 0 has no pose (transform_matrix)",
    "sheared pose": "frame 0: its pose is not a rigid transform",
    "mirrored pose": "frame 0: its pose is not a rigid transform",
    "NaN pose": "frame 0: its pose is not a rigid transform",
    "short pose": "transform_matrix has shape [1, 3], expected [4, 4]",
    "negative focal length": "frame 0: its focal length or size is not positive (-4, -4 at 16x16)",
    "angle of zero": "its focal length or size is not positive",
    "no intrinsics": "frame 0 has no intrinsics",
    "missing picture": "image ./train/other is missing beside it",
    "no picture named": "frame 0 names no image (file_path)",
    "one time missing": "only some frames have a time",
    "time that is a string": 'frame 0: time: expected a number, got "early"',
    "timestamp that is no number": "frame 0: timestamp: expected a number, got null",
    "focal length that is a string": 'frame 0: fl_x: expected a number, got "50"',
    "focal length that is true": "frame 0: fl_x: expected a number, got true",
    "no duration": "duration: expected a number, got null",
    "infinite size": "frame 0: w: expected a number, got Infinity",
    "frame that is no object": 'frame 1: expected an object, got "./train/r_1"',
    "file path that is a number": "frame 0 names no image (file_path)",
    "split that is no list": "train_filenames: expected a list, got 3",
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_named(tmp_path: Path, what: str) -> None:
    meta = change(blender_form(tmp_path), what)
    (tmp_path / "transforms_train.json").write_text(json.dumps(meta))
    with pytest.raises(InputError) as caught:
        load_capture(tmp_path)
    assert DAMAGE[what] in str(caught.value)
    assert "transforms_train.json" in str(caught.value)


def test_images_of_different_sizes_are_refused(tmp_path: Path) -> None:
    blender_form(tmp_path)
    write_pictures(tmp_path, ["train/r_1.png"], size=24)
    with pytest.raises(InputError, match="images of different sizes \\(16x16, 24x24\\)"):
        load_capture(tmp_path)


def test_undecodable_image_is_named(tmp_path: Path) -> None:
    blender_form(tmp_path)
    (tmp_path / "train/r_2.png").write_bytes((tmp_path / "train/r_2.png").read_bytes()[:60])
    with pytest.raises(InputError, match=r"r_2\.png: cannot be decoded as an image"):
        load_capture(tmp_path)


def test_paths_that_are_no_captures(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        load_capture(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"expected transforms_train\.json or transforms.json"):
        load_capture(tmp_path)
    (tmp_path / "x.txt").write_text("hello")
    with pytest.raises(InputError, match=r"expected a folder, a transforms \.json, an image, or a video"):
        load_capture(tmp_path / "x.txt")
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(InputError, match="not valid JSON"):
        load_capture(tmp_path / "x.json")
