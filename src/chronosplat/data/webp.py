"""Animated WebP with random access: one view of a clip, each frame complete in itself and cropped to what it covers.

Browsers and image libraries play such a file. A reader that needs a few frames finds them by the chunks' lengths and decodes
those alone: a frame's chunk is a still WebP without its file header.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chronosplat.shapes import InputError

Rect = tuple[int, int, int, int]  # left, top, width, height
LOSSLESS = {
    "lossless": True,
    "exact": True,
    "quality": 20,
    "method": 2,
}  # docs/results.md, "Shards": more effort is 8 percent smaller and three times slower
REPLACE = 0b11  # a frame's flags: it is not blended with the one before, and is cleared after it
ALPHA, ANIMATED = 0x10, 0x02
CHUNK = struct.Struct("<4sI")  # name, size


@dataclass(frozen=True)
class StoredFrame:
    """Where a frame is: its rectangle on the canvas, and its chunks' bytes."""

    rect: Rect
    start: int
    end: int


@dataclass(frozen=True)
class Animation:
    """A file, undecoded.

    Attributes:
        width, height: of the canvas. spans: where the content of each frame's chunk begins and ends. what: the file's name.
    """

    width: int
    height: int
    spans: tuple[tuple[int, int], ...]
    what: str

    def frame(self, data: bytes | memoryview, number: int) -> StoredFrame:
        """Find a frame.

        Raises:
            InputError: it lies outside the canvas.
        """
        start, end = self.spans[number]
        left, top, w, h = _u24s(data, start, 4)
        if 2 * left + w >= self.width or 2 * top + h >= self.height:
            raise InputError(f"{self.what}: frame {number} lies outside its {self.width}x{self.height} canvas")
        return StoredFrame((2 * left, 2 * top, w + 1, h + 1), start + 16, end)


def covered(mask: NDArray[np.bool_]) -> Rect:
    """Return the smallest rectangle around the true pixels of [H, W] whose corner is even, as WebP demands; 1x1 if there are none."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return 0, 0, 1, 1
    left, top = int(columns[0]) // 2 * 2, int(rows[0]) // 2 * 2
    return left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top


def pack(frames: NDArray[np.uint8], rects: Sequence[Rect], milliseconds: Sequence[int], quality: int | None = None) -> bytes:
    """Encode frames [T, H, W, 4].

    Args:
        rects: what to store of each frame; the rest is transparent. milliseconds: how long each is shown.
        quality: lossy, 0 to 100; None is lossless. Colour is 0 where alpha is.
    """
    height, width = frames.shape[1:3]
    body = [_chunk(b"VP8X", struct.pack("<I", ALPHA | ANIMATED) + _u24(width - 1) + _u24(height - 1)), _chunk(b"ANIM", bytes(6))]
    for frame, (left, top, w, h), duration in zip(frames, rects, milliseconds, strict=True):
        file = io.BytesIO()
        crop = frame[top : top + h, left : left + w]
        Image.fromarray(crop * (crop[..., 3:] > 0)).save(file, "WEBP", **(LOSSLESS if quality is None else {"quality": quality}))
        place = b"".join(_u24(n) for n in (left // 2, top // 2, w - 1, h - 1, min(max(duration, 1), 2**24 - 1)))
        body.append(_chunk(b"ANMF", place + bytes([REPLACE]) + _image_chunks(file.getvalue())))
    return _file(b"".join(body))


def index(data: bytes | memoryview, what: str) -> Animation:
    """Find the frames of a file.

    Raises:
        InputError: not an animated WebP, or damaged; ``what`` names it.
    """
    if len(data) < 30 or data[:4] != b"RIFF" or data[8:16] != b"WEBPVP8X":
        raise InputError(f"{what}: not an animated WebP")
    width, height = (side + 1 for side in _u24s(data, 24, 2))
    spans, position = [], 30
    while position < len(data):
        start = position + CHUNK.size
        if start > len(data):
            raise InputError(f"{what}: a chunk is cut off at byte {position}")
        name, size = CHUNK.unpack_from(data, position)
        end = start + size
        if end > len(data) or (name == b"ANMF" and size < 24):
            raise InputError(f"{what}: a chunk is cut off at byte {position}")
        if name == b"ANMF":
            spans.append((start, end))
        position = end + (size & 1)
    return Animation(width, height, tuple(spans), what)


def decode(data: bytes | memoryview, frame: StoredFrame, what: str) -> NDArray[np.uint8]:
    """Decode a frame's rectangle, [h, w, 4].

    Raises:
        InputError: its bytes do not decode, or to another size than they claim; ``what`` names it.
    """
    chunks = bytes(data[frame.start : frame.end])
    _, _, width, height = frame.rect
    if chunks[:4] != b"VP8L":
        chunks = _chunk(b"VP8X", struct.pack("<I", ALPHA) + _u24(width - 1) + _u24(height - 1)) + chunks
    try:
        with Image.open(io.BytesIO(_file(chunks)), formats=("WEBP",)) as image:
            if image.size != (width, height):
                raise InputError(f"{what}: a frame of {image.size[0]}x{image.size[1]} in the place of one of {width}x{height}")
            pixels = np.frombuffer(image.tobytes(), np.uint8).reshape(height, width, len(image.getbands()))
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, Image.DecompressionBombError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{what}: a frame does not decode ({error})") from error
    if pixels.shape[2] == 3:
        return np.dstack([pixels, np.full((height, width), 255, np.uint8)])
    return pixels if chunks[:4] == b"VP8L" else pixels * (pixels[..., 3:] > 0)


def _image_chunks(still: bytes) -> bytes:
    """Return the chunks of a still WebP that hold its pixels."""
    found, position = b"", 12
    while position < len(still):
        size = int.from_bytes(still[position + 4 : position + 8], "little")
        end = position + 8 + size + (size & 1)
        if still[position : position + 4] in (b"ALPH", b"VP8 ", b"VP8L"):
            found += still[position:end]
        position = end
    return found


def _file(chunks: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) & 1)


def _u24(value: int) -> bytes:
    return value.to_bytes(3, "little")


def _u24s(data: bytes | memoryview, position: int, count: int) -> list[int]:
    """Read numbers of three bytes each."""
    number = int.from_bytes(data[position : position + 3 * count], "little")
    return [number >> 24 * i & 0xFFFFFF for i in range(count)]
