"""Animated WebP: exact round trips, random access, what other readers see, and damage."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from chronosplat.data.webp import covered, decode, index, pack
from chronosplat.shapes import InputError
from tests.data.shard_kit import small_clip


def packed(quality: int | None = None, size: int = 16) -> tuple[np.ndarray, bytes]:
    frames = small_clip(times=5, size=size).frames[:, 2]
    rects = [covered(f[..., 3] > 0) for f in frames]
    return frames, pack(frames, rects, [40] * 5, quality)


def canvas(data: bytes, frame: int) -> np.ndarray:
    found = index(data, "x")
    out = np.zeros((found.height, found.width, 4), np.uint8)
    left, top, w, h = found.frame(data, frame).rect
    out[top : top + h, left : left + w] = decode(data, found.frame(data, frame), "x")
    return out


def test_lossless_is_exact_in_any_order() -> None:
    frames, data = packed()
    for i in (3, 0, 4, 1, 2):
        assert np.array_equal(canvas(data, i), frames[i])


def test_colour_under_zero_alpha_is_not_kept() -> None:
    frames = np.full((1, 8, 8, 4), 200, np.uint8)
    frames[0, 2:, :, 3] = 0
    for quality in (None, 90):
        out = canvas(pack(frames, [(0, 0, 8, 8)], [1], quality), 0)
        assert not out[2:].any()
        assert np.array_equal(out[..., 3], frames[0, ..., 3])


def test_lossy_is_close_and_keeps_alpha() -> None:
    frames, data = packed(quality=90)
    for i, frame in enumerate(frames):
        out = canvas(data, i)
        assert np.array_equal(out[..., 3], frame[..., 3])
        solid = frame[..., 3] == 255
        assert np.abs(out[solid].astype(int) - frame[solid]).mean() < 6


@pytest.mark.parametrize("quality", [None, 90])
def test_other_readers_play_it(quality: int | None) -> None:
    _, data = packed(quality)
    with Image.open(io.BytesIO(data)) as image:
        assert (image.n_frames, image.size) == (5, (16, 16))  # pyright: ignore[reportAttributeAccessIssue]
        for i in range(5):
            image.seek(i)
            image.load()
            assert image.info["duration"] == 40
            seen = np.asarray(image.convert("RGBA"))
            assert np.array_equal(seen * (seen[..., 3:] > 0), canvas(data, i)), i


def test_an_empty_frame_is_one_pixel() -> None:
    assert covered(np.zeros((9, 9), bool)) == (0, 0, 1, 1)
    frames = np.zeros((2, 9, 9, 4), np.uint8)
    assert not canvas(pack(frames, [(0, 0, 1, 1)] * 2, [1, 1]), 1).any()


def test_rectangles_start_at_even_pixels_and_hold_the_mask() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        mask = np.zeros((13, 11), bool)
        mask[rng.integers(13), rng.integers(11)] = mask[rng.integers(13), rng.integers(11)] = True
        left, top, w, h = covered(mask)
        assert left % 2 == top % 2 == 0
        assert mask[top : top + h, left : left + w].sum() == mask.sum()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: b"", "not an animated WebP"),
        (lambda d: d[:200], "cut off"),
        (lambda d: d[:24] + b"\1\0\0\1\0\0" + d[30:], "lies outside its 2x2 canvas"),
    ],
)
def test_damage_is_named(damage: object, message: str) -> None:
    data = packed()[1]
    with pytest.raises(InputError, match=message):
        canvas(damage(data), 4)  # pyright: ignore[reportCallIssue]


def test_a_frame_of_another_size_than_it_claims_is_refused() -> None:
    """A decoder must not allocate what a small file claims, nor write beyond the frame's rectangle."""
    data = bytearray(packed()[1])
    start = index(bytes(data), "x").frame(bytes(data), 0).start
    data[start - 10 : start - 7] = (9).to_bytes(3, "little")  # the width; the canvas has room for it
    with pytest.raises(InputError, match="in the place of one of 10x"):
        decode(bytes(data), index(bytes(data), "x").frame(bytes(data), 0), "x")
    bits = b"\x2f" + ((16383) | (16383 << 14) | (1 << 28)).to_bytes(4, "little")  # a header that claims 16384x16384
    position = bytes(data).index(b"VP8L") + 8
    data[position : position + 5] = bits
    with pytest.raises(InputError, match="frame"):
        decode(bytes(data), index(bytes(data), "x").frame(bytes(data), 0), "x")
