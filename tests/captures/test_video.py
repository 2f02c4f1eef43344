"""Video files: static camera, background found, damage named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from chronosplat import InputError, load_capture
from chronosplat.cameras import orbit
from chronosplat.captures import VideoOptions
from chronosplat.captures.background import border_pixels, uniform_background
from chronosplat.export import write_video

WHOLE = VideoOptions(crop="none")


def moving_square(frames: int, width: int = 64, height: int = 48) -> torch.Tensor:
    """A red square with a white middle that moves to the right, on white."""
    pictures = torch.ones(frames, height, width, 3)
    for i in range(frames):
        pictures[i, 16:32, 8 + i : 24 + i] = torch.tensor([0.8, 0.1, 0.1])
        pictures[i, 22:26, 14 + i : 18 + i] = 1
    return pictures


def test_video_becomes_square_views_with_a_static_camera(tmp_path: Path) -> None:
    write_video(moving_square(10), tmp_path / "a.mp4", fps=20)
    views = load_capture(tmp_path / "a.mp4", video=WHOLE)
    assert views.images.shape == (10, 64, 64, 3)
    torch.testing.assert_close(views.times, torch.arange(10, dtype=torch.float64) / 20)
    torch.testing.assert_close(views.cameras.viewmats, orbit([0.0] * 10, 0.0, 64).viewmats)
    assert any(notice.code == "uniform-background" for notice in views.notices)
    assert any((notice.code, notice.level) == ("single-view", "warning") for notice in views.notices)
    assert float(views.alphas.sum()) == pytest.approx(10 * 256, rel=0.06)
    assert float(views.alphas[0, 32, 16]) > 0.95  # white, but enclosed by the object: the border does not reach it


@pytest.mark.parametrize(
    ("name", "codec", "pixels"), [("a.mov", "png", "rgba"), ("a.mov", "qtrle", "argb"), ("a.webm", "libvpx-vp9", "yuva420p")]
)
def test_a_video_with_alpha_keeps_it(tmp_path: Path, name: str, codec: str, pixels: str) -> None:
    with av.open(str(tmp_path / name), "w") as container:
        stream: Any = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, pixels
        for i in range(4):
            picture = np.zeros((32, 32, 4), np.uint8)
            picture[8:24, 8 + 2 * i : 20 + 2 * i] = (200, 30, 30, 255)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgba").reformat(format=pixels)))
        container.mux(stream.encode())
    views = load_capture(tmp_path / name, video=WHOLE)
    assert "its alpha channel is used" in str(views.notices[0])
    torch.testing.assert_close(views.times, torch.arange(4, dtype=torch.float64) / 10)
    inside = torch.zeros(32, 32)
    inside[8:24, 12:24] = 1
    assert float((views.alphas[2, ..., 0] - inside).abs().mean()) < 0.01
    red = views.images[2, 12:20, 14:22].mean((0, 1))
    assert float((red - torch.tensor([200.0, 30, 30]) / 255).abs().max()) < 0.06


def test_long_videos_are_thinned_evenly(tmp_path: Path) -> None:
    write_video(moving_square(40), tmp_path / "a.mp4", fps=10)
    views = load_capture(tmp_path / "a.mp4")
    assert len(views) == 24
    assert views.seconds == (0.0, pytest.approx(3.9))
    gaps = views.times.diff()
    assert float(gaps.max()) <= 0.2 + 1e-6
    assert len(load_capture(tmp_path / "a.mp4", max_frames=5)) == 5


def test_no_uniform_background_takes_the_whole_image(tmp_path: Path) -> None:
    noise = torch.rand(3, 32, 32, 3, generator=torch.Generator().manual_seed(0))
    assert uniform_background(border_pixels(frame) for frame in noise) is None
    write_video(noise, tmp_path / "a.mp4")
    views = load_capture(tmp_path / "a.mp4")
    assert bool((views.alphas == 1).all())
    assert any("no uniform background" in notice.text for notice in views.notices)


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "cannot be decoded as a video"), (b"not a video at all" * 40, "cannot be decoded as a video")]
)
def test_damaged_videos_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_capture(tmp_path / "a.mp4")


def test_real_videos_load() -> None:
    folder = Path(__file__).parents[2].parent / "shared" / "videos"
    if not folder.is_dir():
        pytest.skip("shared/videos absent")
    paths = sorted(folder.glob("*.mp4"))
    assert paths
    for path in paths:
        views = load_capture(path, size=64, max_frames=4)
        assert views.images.shape == (4, 64, 64, 3)
        assert 0.02 < float(views.alphas.mean()) < 0.8
