"""Frames of video files: upright, square pixels, at the timestamps requested, and damage named."""

from __future__ import annotations

import io
import re
import struct
import weakref
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from chronosplat import InputError
from chronosplat.captures import VideoOptions
from chronosplat.captures.decode import VideoFrame, sampled_frames, video_fps

Pixels = NDArray[np.uint8]
BITS = 10
WIDTH, HEIGHT = 48, 32  # of the image of four colours
FULL = 1 << 16  # 1 in the numbers of a display matrix


def write(
    path: Path,
    pictures: list[Pixels],
    fps: int = 10,
    codec: str = "libx264",
    pixels: str = "yuv444p",
    pts: list[int] | None = None,
    turn: float | None = None,
    aspect: Fraction | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """A video file of images [H, W, 3 or 4]; ``pts`` are milliseconds, ``turn`` is in degrees counter-clockwise."""
    usual = {"preset": "ultrafast", "crf": "10"} if codec == "libx264" else {}
    with av.open(str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}) as container:
        stream: Any = container.add_stream(codec, rate=fps, options=options or usual)
        stream.pix_fmt = pixels
        stream.height, stream.width = pictures[0].shape[:2]
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if pts is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        if turn is not None:
            stream.set_display_rotation(turn)
        for i, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgba" if picture.shape[2] == 4 else "rgb24")
            if pts is not None:
                frame.pts, frame.time_base = pts[i], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_packets(path: Path, packets: list[bytes], pts: list[int], fps: int = 10) -> Path:
    """A Matroska file of JPEGs at milliseconds, as they are."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mjpeg", rate=fps)
        stream.width, stream.height, stream.pix_fmt = 40, 16, "yuvj444p"
        for data, moment in zip(packets, pts, strict=True):
            packet = av.Packet(data)
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, moment, moment, Fraction(1, 1000)
            container.mux(packet)
    return path


def jpeg(picture: Pixels) -> bytes:
    Image.fromarray(picture).save(file := io.BytesIO(), "JPEG", quality=95)
    return file.getvalue()


def numbered(number: int) -> Pixels:
    """Its number in black and white bars."""
    bars = np.array([255 * (number >> bit & 1) for bit in range(BITS)], np.uint8).repeat(4)
    return np.tile(bars[None, :, None], (16, 1, 3))


def number(shot: VideoFrame) -> int:
    return int(((shot.pixels()[8, 2::4, 0] > 127) << np.arange(BITS)).sum())


def count_to(n: int) -> list[Pixels]:
    return [numbered(i) for i in range(n)]


def read(path: Path, fps: float | None = None, start: float = 0.0, end: float | None = None) -> tuple[list[float], list[int]]:
    """Timestamps and numbers."""
    shots = [(shot.seconds, number(shot)) for shot in sampled_frames(path, fps, start, end)]
    return [seconds for seconds, _ in shots], [n for _, n in shots]


def four_colors() -> Pixels:
    """Another colour in every corner, so that no turn and no mirror image looks like another."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    h, w = HEIGHT // 2, WIDTH // 2
    picture[:h, :w], picture[:h, w:], picture[h:, :w], picture[h:, w:] = (220, 40, 40), (40, 220, 40), (40, 40, 220), (220, 220, 220)
    return picture


def assert_looks_like(shown: Pixels, expected: Pixels) -> None:
    assert shown.shape == expected.shape
    assert float(np.abs(shown.astype(float) - expected).mean()) < 3


def first_picture(path: Path) -> Pixels:
    return next(sampled_frames(path)).pixels()


def set_matrix(path: Path, matrix: tuple[int, ...]) -> None:
    """Write the display matrix into an MP4's track header, as phones do."""
    body = (data := bytearray(path.read_bytes())).index(b"tkhd") + 4
    at = body + (52 if data[body] else 40)  # version 1 has longer times
    assert struct.unpack_from(">9i", data, at) == (FULL, 0, 0, 0, FULL, 0, 0, 0, 1 << 30)
    struct.pack_into(">9i", data, at, *matrix)
    path.write_bytes(data)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_rotation_flags_are_obeyed(tmp_path: Path, suffix: str, turns: int) -> None:
    if not hasattr(av.VideoStream, "set_display_rotation"):
        pytest.skip("this PyAV cannot write rotation flags")
    path = write(tmp_path / f"a{suffix}", [four_colors()] * 3, turn=(0, 90, 180, -90)[turns])
    assert_looks_like(first_picture(path), np.rot90(four_colors(), turns))


MATRICES = {
    "clockwise": ((0, FULL, 0, -FULL, 0, 0, HEIGHT << 16, 0, 1 << 30), np.rot90(four_colors(), -1)),
    "upside down": ((-FULL, 0, 0, 0, -FULL, 0, WIDTH << 16, HEIGHT << 16, 1 << 30), np.rot90(four_colors(), 2)),
    "counter-clockwise": ((0, -FULL, 0, FULL, 0, 0, 0, WIDTH << 16, 1 << 30), np.rot90(four_colors())),
    "left and right": ((-FULL, 0, 0, 0, FULL, 0, WIDTH << 16, 0, 1 << 30), four_colors()[:, ::-1]),
    "up and down": ((FULL, 0, 0, 0, -FULL, 0, 0, HEIGHT << 16, 1 << 30), four_colors()[::-1]),
    "rows and columns": ((0, FULL, 0, FULL, 0, 0, 0, 0, 1 << 30), four_colors().transpose(1, 0, 2)),
}


@pytest.mark.parametrize("kind", MATRICES)
def test_a_phones_display_matrix_turns_and_mirrors_the_image(tmp_path: Path, kind: str) -> None:
    matrix, shown = MATRICES[kind]
    set_matrix(path := write(tmp_path / "a.mp4", [four_colors()] * 3), matrix)
    assert_looks_like(first_picture(path), shown)


@pytest.mark.parametrize("aspect", [Fraction(3, 2), Fraction(2, 3), Fraction(1)])
def test_pixels_become_square(tmp_path: Path, aspect: Fraction) -> None:
    path = write(tmp_path / "a.mp4", [four_colors()] * 3, aspect=aspect)
    shown = first_picture(path)
    assert shown.shape == (HEIGHT, round(WIDTH * aspect), 3)
    corners = shown[[8, 8, 24, 24], [shown.shape[1] // 4, -shown.shape[1] // 4] * 2]
    assert float(np.abs(corners.astype(float) - four_colors()[[8, 8, 24, 24], [12, 36] * 2]).max()) < 5
    set_matrix(path, MATRICES["clockwise"][0])
    assert first_picture(path).shape == (round(WIDTH * aspect), HEIGHT, 3)  # square first, then turned


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_variable_frame_rate_comes_out_even(tmp_path: Path, suffix: str) -> None:
    pts = [0, 40, 95, 130, 260, 290, 450, 530, 650, 690, 780, 960]
    path = write(tmp_path / f"a{suffix}", count_to(len(pts)), pts=pts)
    times, numbers = read(path, fps=10)
    assert len(times) in (10, 11)  # the last frame's own duration may or may not count
    assert times == pytest.approx([i / 10 for i in range(len(times))])
    assert numbers == [sum(t <= 100 * i for t in pts) - 1 for i in range(len(times))]
    assert read(path) == (pytest.approx([t / 1000 for t in pts]), list(range(len(pts))))


def test_a_frame_that_is_held_for_long_does_not_blur_the_timestamps_of_others(tmp_path: Path) -> None:
    pts = [0, 30, 70, 130, 240, *range(5060, 5260, 40)]
    path = write(tmp_path / "a.mp4", count_to(len(pts)), pts=pts)
    times, numbers = read(path, fps=10)
    assert numbers == [sum(t <= round(1000 * seconds) for t in pts) - 1 for seconds in times]
    assert read(path, end=0.2)[1] == [0, 1, 2, 3]
    assert read(path, start=5.12)[1] == [7, 8, 9]


@pytest.mark.parametrize(("start", "end", "shown"), [(0.0, 1.0, [0, 1, *[2] * 8]), (1.0, 2.0, [2] * 10), (2.5, None, [*[2] * 5, 3])])
def test_a_held_frame_fills_the_span_that_was_asked_for(tmp_path: Path, start: float, end: float | None, shown: list[int]) -> None:
    path = write(tmp_path / "a.mkv", count_to(4), pts=[0, 100, 200, 3000])
    times, numbers = read(path, fps=10, start=start, end=end)
    assert numbers == shown
    assert times == pytest.approx([start + i / 10 for i in range(len(shown))])


def test_fps_above_the_videos_repeats_frames(tmp_path: Path) -> None:
    times, numbers = read(write(tmp_path / "a.mp4", count_to(10)), fps=30)
    assert 28 <= len(times) <= 30
    assert times == pytest.approx([i / 30 for i in range(len(times))])
    assert numbers == [i // 3 for i in range(len(times))]


@pytest.mark.parametrize(("fps", "seconds", "asked", "count"), [(30, 10, 15, 150), (24, 2, 15, 30), (25, 2, 10, 20), (60, 2, 15, 30)])
def test_lower_frame_rates_skip_frames(tmp_path: Path, fps: int, seconds: int, asked: float, count: int) -> None:
    path = write(tmp_path / "a.mp4", count_to(seconds * fps), fps=fps)
    times, numbers = read(path, fps=asked)
    assert times == pytest.approx([i / asked for i in range(count)])
    assert all(-0.25 - 1e-3 <= t * fps - n < 1 + 1e-3 for t, n in zip(times, numbers, strict=True))
    assert video_fps(path) == pytest.approx(fps)


def test_start_and_end(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", count_to(20))
    assert read(path, start=0.5, end=0.9) == (pytest.approx([0.5, 0.6, 0.7, 0.8]), [5, 6, 7, 8])
    assert read(path, start=0.33, end=0.65)[1] == [4, 5, 6]
    assert read(path, start=1.7)[1] == [17, 18, 19]
    assert read(path, end=0.3)[1] == [0, 1, 2]
    assert read(path, fps=5, start=0.5, end=1.2) == (pytest.approx([0.5, 0.7, 0.9, 1.1]), [5, 7, 9, 11])


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".gif", ".webm"])
def test_every_frame_at_its_own_time(tmp_path: Path, suffix: str) -> None:
    codec, pixels = {".gif": ("gif", "rgb8"), ".webm": ("libvpx-vp9", "yuv420p")}.get(suffix, ("libx264", "yuv444p"))
    path = write(tmp_path / f"a{suffix}", count_to(12), codec=codec, pixels=pixels)
    assert read(path) == (pytest.approx([i / 10 for i in range(12)]), list(range(12)))


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_frames_that_are_stored_out_of_order(tmp_path: Path, codec: str) -> None:
    """AVI has no times of presentation: frames are counted."""
    options = {"bf": "3", "b_strategy": "0", "g": "12"}
    times, numbers = read(write(tmp_path / "a.avi", count_to(14), codec=codec, pixels="yuv420p", options=options))
    assert numbers == list(range(14))
    assert times == pytest.approx([i / 10 for i in range(14)])


def test_frames_without_any_time_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h264", count_to(10), fps=25)
    assert read(path) == (pytest.approx([i / 25 for i in range(10)]), list(range(10)))


def test_of_frames_at_the_same_time_the_first_is_taken(tmp_path: Path) -> None:
    path = write_packets(tmp_path / "a.mkv", [jpeg(p) for p in count_to(6)], [0, 100, 100, 200, 300, 400])
    assert read(path) == (pytest.approx([0, 0.1, 0.2, 0.3, 0.4]), [0, 1, 3, 4, 5])


def test_seconds_count_from_the_files_beginning(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", count_to(10), pts=[5000 + 100 * i for i in range(10)])
    assert read(path, end=0.5) == (pytest.approx([0, 0.1, 0.2, 0.3, 0.4]), [0, 1, 2, 3, 4])


@pytest.mark.parametrize(("suffix", "codec", "samples"), [(".mp4", "aac", "fltp"), (".mkv", "pcm_s16le", "s16")])
def test_sound_alone_is_refused(tmp_path: Path, suffix: str, codec: str, samples: Any) -> None:
    with av.open(str(path := tmp_path / f"a{suffix}"), "w") as container:
        stream: Any = container.add_stream(codec, rate=8000, layout="mono")
        for i in range(4):
            frame = av.AudioFrame(samples, "mono", 1024)
            frame.planes[0].update(bytes(frame.planes[0].buffer_size))
            frame.sample_rate, frame.pts = 8000, 1024 * i
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(InputError, match="has no video stream, only sound"):
        read(path)


@pytest.mark.parametrize("content", [None, b"", b"\0", b"not a video at all" * 400, bytes(range(256)) * 64])
def test_what_is_no_video_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:  # else there is no such file
        (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.mp4: (cannot be decoded as a video|has no)"):
        read(tmp_path / "a.mp4")


def test_a_codec_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", count_to(3))
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    with pytest.raises(InputError, match="cannot be decoded as a video"):
        read(path)


def test_titles_in_other_encodings_do_no_harm(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", count_to(3))
    path.write_bytes(path.read_bytes().replace(b"VideoHandler", "Vidéohandler".encode("latin-1")))
    assert read(path)[1] == [0, 1, 2]
    assert video_fps(path) == pytest.approx(10)


KINDS = [
    (".mp4", "libx264", "yuv444p"), (".mkv", "libx264", "yuv444p"), (".avi", "mjpeg", "yuvj444p"),
    (".webm", "libvpx-vp9", "yuv420p"), (".mov", "png", "rgb24"),
]  # fmt: skip


@pytest.mark.parametrize(("suffix", "codec", "pixels"), KINDS)
def test_a_file_that_was_cut_is_read_as_far_as_it_goes_or_refused(tmp_path: Path, suffix: str, codec: str, pixels: str) -> None:
    path = write(tmp_path / f"a{suffix}", count_to(20), codec=codec, pixels=pixels)
    whole, lengths, refusals = path.read_bytes(), [], []
    for part in range(1, 24):
        path.write_bytes(whole[: len(whole) * part // 24])
        try:
            times, numbers = read(path)
        except InputError as error:
            refusals.append(str(error))
            continue
        assert numbers[:-1] == list(range(len(numbers) - 1))  # the last one may be torn
        assert times == pytest.approx([i / 10 for i in range(len(times))], abs=2e-3)
        lengths.append(len(numbers))
    assert lengths == sorted(lengths)
    if suffix == ".mov":  # its table of frames is at the end
        assert (lengths, len(refusals)) == ([], 23)
    else:
        assert max(lengths) >= 10
    assert all(re.search(r"cannot be decoded as a video|damaged after \d|has no ", line) for line in refusals)


@pytest.mark.parametrize(("suffix", "codec", "pixels"), KINDS)
def test_broken_bytes_raise_nothing_but_input_errors(tmp_path: Path, suffix: str, codec: str, pixels: str) -> None:
    path = write(tmp_path / f"a{suffix}", count_to(8), codec=codec, pixels=pixels)
    whole, random, outcomes = path.read_bytes(), np.random.default_rng(0), set[bool]()
    for _ in range(40):
        broken = bytearray(whole)
        for place in random.integers(len(whole), size=random.integers(1, 12)):
            broken[place] = random.integers(256)
        path.write_bytes(broken)
        try:
            outcomes.add(len([shot.pixels() for shot in sampled_frames(path)]) > 0)
        except InputError as error:
            outcomes.add(str(error).startswith(str(path)))
    assert outcomes == {True}


@pytest.mark.parametrize(("fps", "broken"), [(10, 1), (10, 2), (10, 5), (240, 3), (240, 240)])
def test_what_is_before_the_damage_can_be_had(tmp_path: Path, fps: int, broken: int) -> None:
    packets = [jpeg(numbered(i)) for i in range(broken + 3)]
    packets[broken] = b"no picture"
    path = write_packets(tmp_path / "a.mkv", packets, [round(1000 * i / fps) for i in range(len(packets))], fps)
    with pytest.raises(InputError, match=r"damaged|cannot be decoded") as error:
        read(path)
    advice = re.search(r"end=(\S+)", str(error.value))
    assert bool(advice) == (broken > 2)  # else there is nothing before it, as far as is known
    if not advice:
        return
    numbers = read(path, end=VideoOptions(end=float(advice[1])).end)[1]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= broken - 2 - fps // 100


@pytest.mark.parametrize(("start", "end", "words"), [(5.0, None, "between 5 s and its end"), (2.5, 3.25, "between 2.5 s and 3.25 s")])
def test_an_empty_span_is_named(tmp_path: Path, start: float, end: float | None, words: str) -> None:
    with pytest.raises(InputError, match=f"has no frames {words}"):
        read(write(tmp_path / "a.mp4", count_to(10)), start=start, end=end)


def test_nothing_but_the_frame_at_hand_is_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", count_to(200))
    for fps in (None, 5.0, 20.0):
        seen, most = [], 0
        for shot in sampled_frames(path, fps):
            seen.append(weakref.ref(shot))
            most = max(most, sum(ref() is not None for ref in seen))
        assert len(seen) >= 100
        assert most <= 3
