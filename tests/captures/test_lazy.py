"""Captures are thinned and resized while they are decoded: the same result, in little memory; intrinsics survive a round trip."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from chronosplat.cameras import Cameras, orbit, orbit_pose
from chronosplat.captures import Limits, Views, load_capture, save_transforms
from chronosplat.captures.views import evenly

FRAMES, SIDE = 12, 48


def capture(folder: Path, mode: str = "RGBA", count: int = FRAMES, size: tuple[int, int] = (SIDE, SIDE), files: int | None = None) -> Path:
    """A capture of ``count`` frames, which may share ``files`` images."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    for index in range(count if files is None else files):
        pixels = np.full((size[1], size[0], len(mode)), 255, np.uint8)
        pixels[size[1] // 4 : -size[1] // 4, size[0] // 4 : -size[0] // 4] = rng.integers(0, 200, len(mode))
        Image.fromarray(pixels, mode).save(folder / "images" / f"{index}.png", compress_level=1)
    frames = [
        {
            "file_path": f"images/{index % (files or count)}.png",
            "timestamp": index / 10,
            "transform_matrix": orbit_pose(9.0 * index, 10, 2.0).tolist(),
        }
        for index in range(count)
    ]
    (folder / "transforms.json").write_text(json.dumps({"camera_angle_x": 0.7, "frames": frames}))
    return folder


@pytest.mark.parametrize("mode", ["RGBA", "RGB"], ids=["alpha", "uniform background"])
def test_a_thinned_and_reduced_capture_is_the_whole_one_thinned_and_reduced(tmp_path: Path, mode: str) -> None:
    folder = capture(tmp_path / "a", mode)
    whole = load_capture(folder)
    expected = whole[evenly(len(whole), 5)].resized(16, 16)
    found = load_capture(folder, size=16, max_frames=5)
    for name in ("images", "alphas", "times"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    assert torch.equal(found.cameras.viewmats, expected.cameras.viewmats)
    torch.testing.assert_close(found.cameras.Ks, expected.cameras.Ks)


def test_only_chosen_images_are_read(tmp_path: Path) -> None:
    folder = capture(tmp_path / "a")
    for index in set(range(FRAMES)) - set(evenly(FRAMES, 4)):
        (folder / "images" / f"{index}.png").write_bytes(b"no image")
    assert len(load_capture(folder, max_frames=4)) == 4


def test_limits_give_a_notice_and_choices_of_the_user_none(tmp_path: Path) -> None:
    folder = capture(tmp_path / "a")
    views = load_capture(folder, limits=Limits(frames=6, size=32))
    assert (len(views), views.cameras.width) == (6, 32)
    assert [notice.code for notice in views.notices] == ["thinned", "reduced"]
    assert "6 of 12 images are used" in str(views.notices[0])
    assert "from 48x48 to 32x32" in str(views.notices[1])
    chosen = load_capture(folder, size=40, max_frames=3, limits=Limits(frames=6, size=32))
    assert (len(chosen), chosen.cameras.width, chosen.notices) == (3, 40, ())
    assert load_capture(folder, limits=Limits(frames=60, size=320)).notices == ()


PROGRAM = """
import sys
from pathlib import Path
from chronosplat.captures import load_capture

size, frames = map(int, sys.argv[2:])

def peak():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))

before = peak()
views = load_capture(sys.argv[1], size=size, max_frames=frames)
assert len(views) == frames and views.cameras.width == size
print((peak() - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of a process from /proc")
@pytest.mark.parametrize("mode", ["RGBA", "RGB"], ids=["alpha", "uniform background"])
def test_300_full_hd_frames_thinned_to_24_small_ones_take_under_300_megabytes(tmp_path: Path, mode: str) -> None:
    folder = capture(tmp_path / "a", mode, 300, (1920, 1080), files=3)
    assert 0 < megabytes(folder, 128, 24) < 300


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of a process from /proc")
@pytest.mark.parametrize("size", [512, 504], ids=["their own size", "resized"])
def test_100_frames_of_512_pixels_stay_bytes(tmp_path: Path, size: int) -> None:
    """100 MB of bytes, and what one image takes; floats would be 400 MB."""
    assert 90 < megabytes(capture(tmp_path / "a", "RGBA", 100, (512, 512), files=4), size, 100) < 180


def megabytes(folder: Path, size: int, frames: int) -> int:
    """The memory that a process needs at its peak to load a capture, beyond that of the imports."""
    program = [sys.executable, "-c", PROGRAM, str(folder), str(size), str(frames)]
    return int(subprocess.run(program, capture_output=True, text=True, check=True).stdout)


def views_of(Ks: torch.Tensor) -> Views:
    cameras = orbit([0.0, 50.0, 100.0], 10.0, 24)
    images = torch.rand(3, 24, 24, 3, generator=torch.Generator().manual_seed(0))
    times = torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64)
    return Views(images, torch.ones_like(images[..., :1]), Cameras(cameras.viewmats, Ks, 24, 24), times, torch.tensor([0.0, 1.0, 0.0]))


@pytest.mark.parametrize("each", [False, True], ids=["shared", "of each frame"])
def test_saved_intrinsics_come_back(tmp_path: Path, each: bool) -> None:
    K = torch.tensor([[30.0, 0, 11.0], [0, 33.0, 13.5], [0, 0, 1]])
    Ks = K.expand(3, 3, 3) * (torch.tensor([1.0, 1.1, 0.9])[:, None, None] if each else 1.0)
    Ks = torch.cat([Ks[:, :2], K[2].expand(3, 1, 3)], 1)
    save_transforms(views_of(Ks), tmp_path)
    torch.testing.assert_close(load_capture(tmp_path).cameras.Ks, Ks, rtol=1e-6, atol=1e-5)
