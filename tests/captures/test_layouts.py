"""Layouts of other projects: miniatures of their folders, what is read from them, and what is refused."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from chronosplat.cameras import Cameras, orbit
from chronosplat.captures import Views, load_capture
from chronosplat.captures.layouts.colmap_files import read_cameras, read_images
from chronosplat.captures.load import has_split, is_capture
from chronosplat.shapes import InputError

SIZE = 16


def save_image(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((SIZE, SIZE, 4), np.uint8)
    pixels[4:12, 4:12] = [value, 0, 0, 255]
    Image.fromarray(pixels).save(path)


def values(views: Views) -> list[int]:
    """What the images show, in order."""
    return views.pixels[:, 8, 8, 0].tolist()


def quaternions(cameras: Cameras) -> list[list[float]]:
    """World-to-camera quaternions (wxyz), from the eigenvector of the largest eigenvalue (Bar-Itzhack)."""
    out = []
    for m in cameras.viewmats[:, :3, :3].double():
        k = torch.tensor(
            [
                [m[0, 0] + m[1, 1] + m[2, 2], m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]],
                [0, m[0, 0] - m[1, 1] - m[2, 2], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0]],
                [0, 0, m[1, 1] - m[0, 0] - m[2, 2], m[1, 2] + m[2, 1]],
                [0, 0, 0, m[2, 2] - m[0, 0] - m[1, 1]],
            ],
            dtype=torch.float64,
        )
        out.append(torch.linalg.eigh(k, UPLO="U").eigenvectors[:, -1].tolist())
    return out


CAMERAS = orbit([10.0, 100.0, 200.0], 20.0, SIZE)


def colmap(folder: Path, names: list[str], binary: bool, model: str = "PINHOLE", where: str = "sparse/0") -> Path:
    """A reconstruction of three cameras at CAMERAS' poses."""
    sparse = folder / where
    sparse.mkdir(parents=True)
    K = CAMERAS.Ks[0].double()
    fx, fy, cx, cy = float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2])
    number, parameters = {"PINHOLE": (1, [fx, fy, cx, cy]), "SIMPLE_RADIAL": (2, [fx, cx, cy, 0.01]), "OPENCV_FISHEYE": (5, [fx] * 8)}[
        model
    ]
    poses = [(q, m[:3, 3].double().tolist()) for q, m in zip(quaternions(CAMERAS), CAMERAS.viewmats, strict=True)]
    for i, name in enumerate(names):
        save_image(folder / "images" / name, 50 + i)
    if binary:
        data = struct.pack("<QiiQQ", 1, 7, number, SIZE, SIZE) + struct.pack(f"<{len(parameters)}d", *parameters)
        (sparse / "cameras.bin").write_bytes(data)
        data = struct.pack("<Q", len(names))
        for i, name in enumerate(names):
            q, t = poses[i % 3]
            data += (
                struct.pack("<i7di", i + 1, *q, *t, 7) + name.encode() + b"\0" + struct.pack("<Q", 2) + struct.pack("<ddq", 1, 2, -1) * 2
            )
        (sparse / "images.bin").write_bytes(data)
    else:
        line = " ".join(map(repr, parameters))
        (sparse / "cameras.txt").write_text(f"# Camera list\n7 {model} {SIZE} {SIZE} {line}\n")
        text = "# Image list\n"
        for i, name in enumerate(names):
            q, t = poses[i % 3]
            text += f"{i + 1} {' '.join(map(repr, [*q, *t]))} 7 {name}\n" + ("1.0 2.0 -1\n" if i else "\n")
        (sparse / "images.txt").write_text(text)
    return folder


@pytest.mark.parametrize("where", ["sparse/0", "sparse", "."])
@pytest.mark.parametrize("binary", [False, True])
def test_colmap_has_the_cameras_that_were_written(tmp_path: Path, binary: bool, where: str) -> None:
    folder = colmap(tmp_path / "c", ["b.png", "a.png", "c d.png"], binary, where=where)
    assert is_capture(folder)
    views = load_capture(folder)
    assert values(views) == [51, 50, 52]  # by name
    assert torch.allclose(views.cameras.viewmats, CAMERAS.viewmats[[1, 0, 2]], atol=1e-5)
    assert torch.allclose(views.cameras.Ks, CAMERAS.Ks, atol=1e-4)
    assert views.times.tolist() == [0, 0, 0]
    assert views.up is None
    assert [n.code for n in views.notices] == ["static-capture"]
    assert not has_split(folder, "test")


@pytest.mark.parametrize("table", ["times.txt", "times.csv"])
def test_colmap_takes_times_from_a_table(tmp_path: Path, table: str) -> None:
    folder = colmap(tmp_path / "c", ["a.png", "b.png", "c d.png"], True)
    lines = {"times.txt": "# t\na.png 0.5\nb.png 0.25\nc d.png 1\n", "times.csv": "name,seconds\na.png,0.5\nb.png,0.25\nc d.png,1\n"}
    (folder / table).write_text(lines[table])
    views = load_capture(folder)
    assert views.times.tolist() == [0.25, 0.5, 1]
    assert values(views) == [51, 50, 52]


def test_colmap_takes_times_from_names(tmp_path: Path) -> None:
    one = load_capture(colmap(tmp_path / "one", ["cam1_t0003.png", "cam2_t0003.png", "cam1_t0006.png"], True))
    assert one.times.tolist() == pytest.approx([0, 0, 0.1])
    assert "assumed-times" in [n.code for n in one.notices]
    rig = load_capture(colmap(tmp_path / "rig", ["cam1/0000.png", "cam2/0000.png", "cam1/0015.png"], True))
    assert rig.times.tolist() == pytest.approx([0, 0, 0.5])
    still = load_capture(colmap(tmp_path / "still", ["IMG_0001.png", "IMG_0002.png", "IMG_0003.png"], True))
    assert still.times.tolist() == [0, 0, 0]  # numbers alone are no times


def test_colmap_distortion_is_named(tmp_path: Path) -> None:
    views = load_capture(colmap(tmp_path / "c", ["a.png"], True, "SIMPLE_RADIAL"))
    assert "distortion-ignored" in [n.code for n in views.notices]


def cut(name: str, size: int) -> Callable[[Path], object]:
    return lambda f: (f / "sparse/0" / name).write_bytes((f / "sparse/0" / name).read_bytes()[:size])


def cameras_with(folder: Path, number: int, model: int) -> object:
    return (folder / "sparse/0/cameras.bin").write_bytes(struct.pack("<QiiQQ4d", 1, number, model, 4, 4, 1, 1, 1, 1))


BROKEN: dict[str, tuple[bool, Callable[[Path], object], str]] = {
    "cut": (True, cut("images.bin", 90), r"images\.bin: (is cut off|.* records)"),
    "cut-cameras": (True, cut("cameras.bin", 40), r"cameras\.bin: .*"),
    "count": (True, lambda f: (f / "sparse/0/images.bin").write_bytes(b"\xff" * 100), "records in 100 bytes"),
    "model": (True, lambda f: cameras_with(f, 7, 99), "camera model 99"),
    "camera": (True, lambda f: cameras_with(f, 8, 1), "camera 7 is missing"),
    "text": (False, lambda f: (f / "sparse/0/images.txt").write_text("1 2 3\n\n"), "expected ID QW"),
    "text-camera": (False, lambda f: (f / "sparse/0/cameras.txt").write_text("7 PINHOLE x 16 1\n"), "expected ID MODEL"),
    "empty": (False, lambda f: (f / "sparse/0/images.txt").write_text("# none\n"), "has no images"),
    "nan": (False, lambda f: (f / "sparse/0/images.txt").write_text("1 nan 0 0 0 0 0 0 7 a.png\n\n"), "not finite"),
    "path": (False, lambda f: (f / "sparse/0/images.txt").write_text("1 1 0 0 0 0 0 0 7 ../../a.png\n\n"), "leads out of the"),
    "absolute": (False, lambda f: (f / "sparse/0/images.txt").write_text("1 1 0 0 0 0 0 0 7 /etc/passwd\n\n"), "leads out"),
    "image": (True, lambda f: (f / "images/a.png").unlink(), "a.png is missing"),
    "no-time": (True, lambda f: (f / "times.txt").write_text("b.png 1\n"), "has no time of a.png"),
    "bad-time": (True, lambda f: (f / "times.txt").write_text("a.png 1\nb.png x\n"), "line 2: expected NAME SECONDS"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_broken_colmap_is_named(tmp_path: Path, case: str) -> None:
    binary, damage, message = BROKEN[case]
    folder = colmap(tmp_path / "c", ["a.png", "b.png"], binary)
    damage(folder)
    with pytest.raises(InputError, match=message):
        load_capture(folder)


def test_a_fisheye_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="OPENCV_FISHEYE is a fisheye; undistort"):
        load_capture(colmap(tmp_path / "c", ["a.png"], True, "OPENCV_FISHEYE"))


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=300), head=st.sampled_from([b"", struct.pack("<Q", 1), struct.pack("<Qii", 1, 1, 1)]))
def test_noise_never_crashes(tmp_path_factory: pytest.TempPathFactory, data: bytes, head: bytes) -> None:
    folder = tmp_path_factory.mktemp("noise")
    for name, read in (("cameras", read_cameras), ("images", read_images)):
        for suffix in (".bin", ".txt"):
            path = folder / f"{name}{suffix}"
            path.write_bytes(head + data)
            try:
                read(path)
            except InputError:
                continue


def test_consistent4d_has_the_input_video_and_four_views(tmp_path: Path) -> None:
    for t in range(12):
        save_image(tmp_path / f"{t}.png", 50 + t)
        for v in range(4):
            save_image(tmp_path / f"eval_{v}/{t}.png", 100 + 20 * v + t)
    train, test = load_capture(tmp_path), load_capture(tmp_path, "test")
    assert values(train) == list(range(50, 62))  # 10 after 9
    assert train.times.tolist() == [t / 8 for t in range(12)]
    assert len(test) == 48
    assert values(test)[:4] == [100, 120, 140, 160]
    wanted = orbit([0.0, -75.0, 15.0, 105.0, 195.0], 0.0, SIZE)
    assert torch.allclose(train.cameras.viewmats, wanted.viewmats[:1].expand(12, 4, 4), atol=1e-6)
    assert torch.allclose(test.cameras.viewmats[:4], wanted.viewmats[1:], atol=1e-6)
    assert torch.allclose(test.cameras.Ks, wanted.Ks[:1], atol=1e-4)
    assert [n.code for n in train.notices] == ["assumed-cameras"]
    (tmp_path / "eval_2/5.png").unlink()
    with pytest.raises(InputError, match=r"5\.png is missing between the frames at azimuth 105"):
        load_capture(tmp_path, "test")


def blender_camera(camera: Cameras) -> dict[str, object]:
    """Diffusion4D's JSON: Blender's camera-to-world matrix in a +Z-up world."""
    turn = torch.tensor([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    fov = 2 * math.atan(0.5 * SIZE / float(camera.Ks[0, 0, 0]))
    return {"matrix_world": (turn @ camera.to_opengl_c2w()[0]).tolist(), "x_fov": fov, "y_fov": fov, "format_version": 6, "max_depth": 5.0}


def test_diffusion4d_has_an_orbit_a_static_orbit_and_sides(tmp_path: Path) -> None:
    ring = orbit([15.0 * i for i in range(12)], 0.0, SIZE, radius=2.0)
    for t in range(12):
        save_image(tmp_path / f"multi_frame{t}.png", 50 + t)
        save_image(tmp_path / f"multi_static_frame{t}.png", 80 + t)
        save_image(tmp_path / f"front_frame{t}.png", 110 + t)
        save_image(tmp_path / f"left_frame{t}.png", 140 + t)
        for name in ("multi", "static"):
            (tmp_path / f"{name}{t}.json").write_text(json.dumps(blender_camera(ring[t])))
    for side, azimuth in (("front", 0.0), ("left", 270.0)):
        (tmp_path / f"{side}.json").write_text(json.dumps(blender_camera(orbit([azimuth], 0.0, SIZE, radius=2.0))))
    (tmp_path / "metadata.json").write_text("{}")
    train, static, test = (load_capture(tmp_path, split) for split in ("train", "static", "test"))
    assert values(train) == list(range(50, 62))
    assert train.times.tolist() == pytest.approx([t / 24 for t in range(12)])
    assert torch.allclose(train.cameras.centers.norm(dim=-1), torch.full((12,), 2.0), atol=1e-5)
    assert torch.allclose(
        train.cameras.to_opengl_c2w()[3], torch.tensor(json.loads((tmp_path / "multi3.json").read_text())["matrix_world"]), atol=1e-5
    )
    assert torch.allclose(train.cameras.Ks, ring.Ks, atol=1e-4)
    assert static.times.tolist() == [0] * 12
    assert values(test) == [v for t in range(12) for v in (110 + t, 140 + t)]
    with pytest.raises(InputError, match="has no split 'val'; it has train, static, test"):
        load_capture(tmp_path, "val")
    (tmp_path / "multi3.json").write_text("{}")
    with pytest.raises(InputError, match=r"multi3\.json: not a camera"):
        load_capture(tmp_path)
    (tmp_path / "multi3.json").unlink()
    with pytest.raises(InputError, match=r"multi\.json: no such file"):
        load_capture(tmp_path)


def test_a_folder_of_nothing_lists_the_layouts(tmp_path: Path) -> None:
    assert not is_capture(tmp_path)
    with pytest.raises(
        InputError, match=r"no capture in it; expected transforms_train\.json .*colmap: sparse/0.*consistent4d: 0\.png.*diffusion4d"
    ):
        load_capture(tmp_path)


def test_a_transforms_file_comes_first(tmp_path: Path) -> None:
    colmap(tmp_path / "c", ["a.png"], True)
    (tmp_path / "c/transforms.json").write_text("[]")
    with pytest.raises(InputError, match=r"transforms\.json: not a capture"):
        load_capture(tmp_path / "c")
