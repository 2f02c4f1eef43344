"""Clips: one framing for a whole video, warnings and refusals, and memory that does not grow."""

from __future__ import annotations

import re
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from chronosplat import InputError
from chronosplat.captures import ObjectVideo, VideoOptions, open_video
from chronosplat.captures.decode import sampled_frames
from chronosplat.captures.matting import AlphaMatte, Matte, NetworkMatte, UniformMatte
from chronosplat.captures.object_video import FILL
from chronosplat.captures.survey import SIDE, SLOW_EVERY, Survey
from chronosplat.captures.window import Window
from chronosplat.events import info
from tests.captures.test_decode import jpeg, write, write_packets
from tests.captures.test_matting import Network, install

Pixels = NDArray[np.uint8]
RED = (200, 30, 30)


def square(left: int | None, top: int = 20, side: int = 16, size: tuple[int, int] = (64, 96), back: Pixels | None = None) -> Pixels:
    """A red square on white, or on a background; no square where ``left`` is None."""
    picture = np.full((*size, 3), 255, np.uint8) if back is None else back.copy()
    if left is not None:
        picture[top : top + side, left : left + side] = RED
    return picture


def texture(seed: int, height: int, width: int) -> Pixels:
    """Large patches of green and blue: nothing in it is red."""
    patches = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3)).astype(np.uint8)
    patches[..., 0] = 0
    return patches.repeat(8, 0).repeat(8, 1)


def everything(clip: ObjectVideo, size: int = 64) -> tuple[Tensor, Tensor]:
    images, alphas = zip(*clip.frames(size), strict=True)
    return torch.stack(images), torch.stack(alphas)


def warnings(clip: ObjectVideo) -> list[str]:
    return [notice.text for notice in clip.notices if notice.level == "warning"]


def extent(solid: Tensor) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what is true in [H, W]."""
    rows, columns = solid.any(1).nonzero()[:, 0], solid.any(0).nonzero()[:, 0]
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@pytest.mark.parametrize(
    ("left", "top", "side"), [(2, 1, 4), (0, 0, 8), (-3, 2, 8), (5, 2, 8), (2, -3, 8), (2, 4, 8), (-5, -5, 20), (7, 0, 3), (0, 5, 2)]
)
def test_a_window_may_reach_beyond_the_image(left: int, top: int, side: int) -> None:
    picture = np.random.default_rng(0).integers(1, 255, (7, 9, 4)).astype(np.uint8)
    for channels in (3, 4):
        cut, inside = Window(left, top, side).crop(picture[..., :channels], (10, 20, 30))
        assert cut.shape == (side, side, channels)
        for y in range(side):
            for x in range(side):
                there = 0 <= y + top < 7 and 0 <= x + left < 9
                assert inside[y, x] == there
                expected = picture[y + top, x + left, :channels] if there else [10, 20, 30, 0][:channels]
                assert list(cut[y, x]) == list(expected)


@pytest.mark.parametrize(("left", "top"), [(9, 0), (-4, 0), (0, 7), (0, -4), (100, 100), (-100, -100), (-100, 3), (3, 100)])
def test_a_window_wholly_outside_is_empty(left: int, top: int) -> None:
    cut, inside = Window(left, top, 4).crop(np.full((7, 9, 4), 99, np.uint8), (10, 20, 30))
    assert not inside.any()
    assert (cut == [10, 20, 30, 0]).all()


@pytest.mark.parametrize("size", [(64, 96), (96, 64), (480, 640)])
def test_one_framing_for_the_whole_clip(tmp_path: Path, size: tuple[int, int]) -> None:
    scale = size[1] // 32
    places = [(4 * scale + scale * i, 3 * scale + scale * (i % 4)) for i in range(12)]
    path = write(tmp_path / "a.mp4", [square(x, y, 8 * scale, size) for x, y in places])
    clip = open_video(path)
    images, alphas = everything(clip, 128)
    assert images.shape == (12, 128, 128, 3)
    assert alphas.shape == (12, 128, 128, 1)
    left, top, right, bottom = extent((alphas[..., 0] >= 0.5).any(0))
    assert max(right - left, bottom - top) / 128 == pytest.approx(FILL, abs=0.03)
    assert (left + right) / 2 == pytest.approx(64, abs=3)
    assert (top + bottom) / 2 == pytest.approx(64, abs=3)
    zoom = 128 / clip.window.side
    for (x, y), alpha in zip(places, alphas[..., 0], strict=True):
        corners = [(x - clip.window.left) * zoom, (y - clip.window.top) * zoom]
        corners += [corner + 8 * scale * zoom for corner in corners]
        assert extent(alpha >= 0.5) == pytest.approx(corners, abs=1.5)
    assert float((images[(alphas > 0.99)[..., 0]] - torch.tensor(RED) / 255).abs().max()) < 0.06
    assert warnings(clip) == []


def test_crop_none_keeps_the_whole_image_made_square(tmp_path: Path) -> None:
    clip = open_video(write(tmp_path / "a.mp4", [square(30)] * 3), VideoOptions(crop="none"))
    assert clip.window == Window(0, -16, 96)
    _, alphas = everything(clip, 96)
    assert extent(alphas[1, ..., 0] >= 0.5) == (30, 36, 46, 52)


def test_times_are_the_videos_own(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", [square(10 + i) for i in range(20)])
    clip = open_video(path, VideoOptions(fps=5, start=0.4, end=1.4))
    assert clip.times.dtype == torch.float64
    torch.testing.assert_close(clip.times, torch.tensor([0.4, 0.6, 0.8, 1.0, 1.2], dtype=torch.float64))
    assert len(open_video(path, VideoOptions(max_frames=3))) == len(everything(open_video(path, VideoOptions(max_frames=3)))[0]) == 3
    assert len(open_video(path, VideoOptions(max_frames=300))) == 20


@pytest.mark.parametrize("which", [[0], [0, 1, 2], [3, 4, 9], [11], list(range(0, 12, 3)), []])
def test_chosen_frames_are_those_of_a_full_reading(tmp_path: Path, which: list[int]) -> None:
    path = write(tmp_path / "a.mp4", [square(10 + 3 * i) for i in range(30)])
    clip = open_video(path, VideoOptions(fps=5, start=0.2, max_frames=12))
    full, some = list(clip.frames(48)), list(clip.frames(48, which))
    assert (len(full), len(some)) == (12, len(which))
    for index, frame in zip(which, some, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(full[index], frame, strict=True))


def test_a_file_that_changed_meanwhile_is_refused(tmp_path: Path) -> None:
    clip = open_video(write(tmp_path / "a.mp4", [square(20)] * 10))
    write(tmp_path / "a.mp4", [square(20)] * 6)
    with pytest.raises(InputError, match="ended before frame 6 of 10; was the file changed meanwhile"):
        everything(clip)


def test_an_object_at_the_border_is_warned_of(tmp_path: Path) -> None:
    clip = open_video(write(tmp_path / "a.mp4", [square(4 * i) for i in range(8)]))
    (line,) = warnings(clip)
    assert line.startswith("the object touches the image's border in 1 of 8 frames, first at 0.00 s")
    assert everything(clip)[1][0, ..., 0].any()
    assert not warnings(open_video(write(tmp_path / "b.mp4", [square(4 * i) for i in range(1, 8)])))


def test_an_object_that_is_missing_in_between_is_warned_of(tmp_path: Path) -> None:
    clip = open_video(write(tmp_path / "a.mp4", [square(None if 3 <= i < 6 else 30 + i) for i in range(10)]))
    assert warnings(clip) == ["the object is missing in 3 of 10 frames, first at 0.30 s"]
    shares = everything(clip)[1].mean((1, 2, 3))
    assert [float(share) < 1e-3 for share in shares] == [3 <= i < 6 for i in range(10)]


@pytest.mark.parametrize(("fps", "empty", "asked"), [(10, 4, None), (30, 11, None), (30, 20, 7.0), (60, 13, None), (240, 13, None)])
def test_where_the_object_comes_late_the_start_that_helps_is_reported(tmp_path: Path, fps: int, empty: int, asked: float | None) -> None:
    path = write(tmp_path / "a.mp4", [square(None if i < empty else 30) for i in range(empty + fps // 2)], fps=fps)
    with pytest.raises(InputError, match="no object in its first frame; start") as error:
        open_video(path, VideoOptions(fps=asked))
    told = re.search(r"start=(\S+)", str(error.value))
    assert told
    clip = open_video(path, VideoOptions(fps=asked, start=float(told[1])))
    assert warnings(clip) == []
    assert float(clip.times[0]) == pytest.approx(empty / fps, abs=1 / fps if asked is None else 1 / asked)


def test_the_start_that_is_reported_helps_a_slow_matte_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow matte looks at few images: one that was not looked at cannot be recommended."""
    install(monkeypatch, Network())
    back = texture(0, 64, 96)
    path = write(tmp_path / "a.mp4", [square(None if i < 10 else 30, back=back) for i in range(20)])
    with pytest.raises(InputError, match="no object in its first frame") as error:
        open_video(path, VideoOptions(matting="rembg"))
    told = re.search(r"start=(\S+)", str(error.value))
    assert told
    assert len(open_video(path, VideoOptions(matting="rembg", start=float(told[1])))) <= 10


def test_no_object_anywhere_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", [square(None)] * 5)
    with pytest.raises(InputError, match="no object found in any of its 5 frames; try another matting"):
        open_video(path)


@pytest.mark.parametrize("matting", ["none", "rembg"])
@pytest.mark.parametrize("speed", [0, 4])
def test_a_moving_camera_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, matting: str, speed: int) -> None:
    network = install(monkeypatch, Network())
    wide = texture(1, 64, 192)
    pictures = [square(30 + i, back=wide[:, speed * i : speed * i + 96]) for i in range(20)]
    clip = open_video(write(tmp_path / "a.mp4", pictures), VideoOptions(matting=matting))
    found = [line for line in warnings(clip) if "camera seems to move" in line]
    assert len(found) == len(warnings(clip)) == (1 if speed else 0)
    assert (len(network.shapes) > 0) == (matting == "rembg")
    assert clip.matte.kind == matting


def test_the_camera_of_a_clip_without_a_background_is_not_judged() -> None:
    for matte in (AlphaMatte(info("", "")), UniformMatte(info("", ""), torch.zeros(3))):
        survey = Survey(matte)
        for i in range(5):
            survey.add(i / 10, np.random.default_rng(i).integers(0, 256, (40, 40, 4)).astype(np.uint8))
        assert not any(notice.code == "moving-camera" for notice in survey.warnings())


def test_a_slow_matte_looks_at_few_and_small_images() -> None:
    looks: list[tuple[int, ...]] = []

    def session(picture: Pixels) -> Pixels:
        looks.append(picture.shape)
        return picture[..., 0] - picture[..., 1]

    survey = Survey(NetworkMatte("", session))
    for i in range(100):
        survey.add(i / 50, square(200, 100, 60, (480, 640), np.zeros((480, 640, 3), np.uint8)))
    assert len(looks) == pytest.approx(2 / SLOW_EVERY, abs=1)
    assert set(looks) == {(240, SIDE, 3)}
    assert len(survey.times) == 100
    window = survey.object_window(FILL)
    assert (window.left, window.top, window.side) == pytest.approx((190, 90, 80), abs=4)


def test_a_whole_image_is_framed_as_it_is() -> None:
    survey = Survey(Matte(""))
    survey.add(0.0, np.zeros((40, 61, 3), np.uint8))
    assert survey.object_window(FILL) == survey.whole() == Window(0, -11, 61)
    assert survey.warnings() == []


def test_alpha_video_with_transparent_frames_in_the_middle(tmp_path: Path) -> None:
    pictures = []
    for i in range(8):
        picture = np.zeros((64, 96, 4), np.uint8)
        if not 3 <= i < 5:
            picture[20:36, 10 + 6 * i : 26 + 6 * i] = (*RED, 128)
            picture[24:32, 14 + 6 * i : 22 + 6 * i] = (*RED, 255)
        pictures.append(picture)
    clip = open_video(write(tmp_path / "a.mov", pictures, codec="png", pixels="rgba"), VideoOptions(crop="none"))
    assert clip.matte.kind == "alpha"
    assert warnings(clip) == ["the object is missing in 2 of 8 frames, first at 0.30 s"]
    images, alphas = everything(clip, 96)
    expected = torch.from_numpy(np.stack(pictures)).float() / 255
    torch.testing.assert_close(alphas[:, 16:80], expected[..., 3:])
    assert not alphas[:, :16].any()
    assert not alphas[:, 80:].any()
    solid = (alphas > 0)[..., 0]
    torch.testing.assert_close(images[solid], (torch.tensor(RED) / 255).expand(int(solid.sum()), 3))
    framed = open_video(tmp_path / "a.mov")
    left, _, right, _ = extent((everything(framed, 128)[1][..., 0] >= 0.5).any(0))
    assert (right - left) / 128 == pytest.approx(FILL, abs=0.03)


def test_one_frame_is_a_clip(tmp_path: Path) -> None:
    clip = open_video(write(tmp_path / "a.mp4", [square(30)]))
    assert clip.times.tolist() == [0.0]
    images, alphas = everything(clip, 32)
    assert images.shape == (1, 32, 32, 3)
    assert float(alphas.mean()) == pytest.approx(FILL**2, abs=0.05)


def test_images_that_change_their_size_are_refused(tmp_path: Path) -> None:
    pictures = [square(10, size=(48, 64))] * 6 + [square(10, size=(64, 48))] * 6
    path = write_packets(tmp_path / "a.mkv", [jpeg(p) for p in pictures], [100 * i for i in range(12)])
    with pytest.raises(InputError, match=r"size changes from 64x48 to 48x64 at 0\.60 s; choose start and end"):
        open_video(path)
    assert open_video(path, VideoOptions(end=0.6)).size == (64, 48)
    assert open_video(path, VideoOptions(start=0.6)).size == (48, 64)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.mp4", tmp_path):
        with pytest.raises(InputError, match="no such file"):
            open_video(path)


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    pictures = [square(8 + i // 4, 8, 8, (32, 48)) for i in range(40)]
    peaks = []
    for rounds in (1, 6):
        path = write(tmp_path / f"{rounds}.mp4", pictures * rounds, fps=30)
        tracemalloc.start()
        clip = open_video(path)
        count = sum(1 for _ in clip.frames(16))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert count == len(clip) == 40 * rounds
    assert peaks[1] - peaks[0] < 50 * pictures[0].nbytes  # where there are 200 images more


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fps": 0.0}, "fps: expected a number above 0, at most 1000; got 0"),
        ({"fps": -1.0}, "fps: expected .* got -1"),
        ({"fps": float("nan")}, "fps: expected .* got nan"),
        ({"fps": float("inf")}, "fps: expected .* got inf"),
        ({"start": -0.1}, "start: expected seconds, 0 or more; got -0.1"),
        ({"start": float("nan")}, "start: expected .* got nan"),
        ({"start": 2.0, "end": 1.0}, "end: expected to lie after the start .2 s., got 1"),
        ({"start": 2.0, "end": 2.0}, "end: expected to lie after the start"),
        ({"end": 0.0}, "end: expected to lie after the start"),
        ({"end": float("nan")}, "end: expected .* got nan"),
        ({"max_frames": 0}, "max_frames: expected at least 1, got 0"),
        ({"crop": "tight"}, "crop: expected auto or none; got 'tight'"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        VideoOptions(**options)


VIDEOS = Path(__file__).parents[2].parent / "shared" / "videos"
COUNTS = {"dancing_robot_fg": 30, "otter-on-surfboard_fg": 150, "sighing_frog_fg": 30}


@pytest.mark.parametrize("name", COUNTS)
def test_real_videos_give_clips(name: str) -> None:
    path = VIDEOS / f"{name}.mp4"
    if not path.is_file():
        pytest.skip("shared/videos absent")
    assert sum(1 for _ in sampled_frames(path, fps=15)) == COUNTS[name]
    clip = open_video(path, VideoOptions(fps=15, max_frames=None if name.startswith("dancing") else 4))
    assert len(clip) == (COUNTS[name] if name.startswith("dancing") else 4)
    assert clip.matte.kind == "uniform"
    assert min(clip.matte.fill) >= 250
    images, alphas = next(clip.frames(64))
    assert images.shape == (64, 64, 3)
    assert 0.02 < float(alphas.mean()) < 0.8
    torch.testing.assert_close(clip.times, torch.arange(len(clip), dtype=torch.float64) / 15)
