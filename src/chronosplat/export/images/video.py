"""MP4 (H.264), WebM (VP9), GIF and APNG, through PyAV, written as the images come."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from chronosplat.files import atomic_file
from chronosplat.shapes import InputError

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Codec:
    """How a format is encoded.

    Attributes:
        name: FFmpeg's. opaque, alpha: pixel formats; alpha is empty where the format holds none.
        options: of the codec. container: of the container.
        is_even: whether the sides must be even; the last row or column is then left out.
        fps_max: the highest frame rate that players honour.
        packed: packs pixels [H, W, 3 or 4] into what a frame is made from, and that array's pixel format.
    """

    name: str
    opaque: str
    alpha: str = ""
    options: dict[str, str] = field(default_factory=dict)
    container: dict[str, str] = field(default_factory=dict)
    is_even: bool = False
    fps_max: float = 1000.0
    packed: Callable[[Pixels], tuple[Any, str]] = lambda pixels: (pixels, "rgba" if pixels.shape[2] == 4 else "rgb24")


def _palette(pixels: Pixels) -> tuple[Any, str]:
    """At most 256 colours of an image; one of them is transparent if it has alpha, which GIF knows as all or nothing."""
    opaque = pixels[..., 3] >= 128 if pixels.shape[2] == 4 else None
    colors = Image.fromarray(np.ascontiguousarray(pixels[..., :3] if opaque is None else pixels[..., :3] * opaque[..., None]))
    reduced = colors.quantize(255, Image.Quantize.MEDIANCUT, dither=Image.Dither.FLOYDSTEINBERG)
    listed = np.array(reduced.getpalette("RGB"), np.uint8).reshape(-1, 3)
    palette = np.full((256, 4), (255, 0, 0, 0), np.uint8)  # alpha, red, green, blue
    palette[: len(listed), 1:] = listed
    indices = np.array(reduced, np.uint8)
    if opaque is not None:
        palette[255] = 0
        indices[~opaque] = 255
    return (indices, palette), "pal8"


CODECS = {
    ".mp4": Codec("libx264", "yuv420p", "", {"crf": "18", "preset": "medium"}, {"movflags": "+faststart"}, is_even=True),
    ".webm": Codec(
        "libvpx-vp9", "yuv420p", "yuva420p", {"crf": "24", "b:v": "0", "auto-alt-ref": "0"}, {"fflags": "+bitexact"}, is_even=True
    ),
    ".gif": Codec("gif", "pal8", "pal8", fps_max=50.0, packed=_palette),
    ".apng": Codec("apng", "rgb24", "rgba", {"pred": "mixed"}, {"plays": "0"}),
}


def write_video(images: Iterable[Tensor], path: str | Path, fps: float = 24.0) -> None:
    """Write images in [0, 1] as they come, by atomic rename.

    Args:
        images: [H, W, 3], or [H, W, 4] with straight alpha, all of one size.

    Raises:
        InputError: an unknown suffix, no images, a frame rate or an alpha channel that the format cannot hold.
    """
    import av  # late: nothing else of the exports needs it
    from av.error import FFmpegError

    path = Path(path)
    if path.suffix not in CODECS:
        raise InputError(f"{path}: unknown video format; expected {', '.join(CODECS)}")
    codec = CODECS[path.suffix]
    check_rate(path.suffix, fps)
    try:
        with atomic_file(path) as fresh, av.open(str(fresh), "w", container_options=codec.container) as container:
            _encode(images, container, codec, path, fps)
    except FFmpegError as error:
        if isinstance(error, OSError):
            raise
        raise InputError(f"{path}: cannot be encoded as {codec.name} ({error.strerror}); try another size or format") from error


def _encode(images: Iterable[Tensor], container: Any, codec: Codec, path: Path, fps: float) -> None:
    import av

    stream = container.add_stream(codec.name, rate=Fraction(fps).limit_denominator(1001), options=codec.options)
    count = 0
    for image in images:
        pixels = as_pixels(image)
        if codec.is_even:
            pixels = pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2]
        if pixels.size == 0:
            raise InputError(f"{path}: expected images of at least 2x2 pixels, got {image.shape[1]}x{image.shape[0]}")
        if not count:
            if pixels.shape[2] == 4 and not codec.alpha:
                raise InputError(f"{path}: {codec.name} holds no transparency; write .webm, .apng or .png, or composite the images")
            stream.pix_fmt = codec.alpha if pixels.shape[2] == 4 else codec.opaque
            stream.height, stream.width = pixels.shape[:2]
        packed, form = codec.packed(np.ascontiguousarray(pixels))
        container.mux(stream.encode(av.VideoFrame.from_ndarray(packed, format=form)))
        count += 1
    if not count:
        raise InputError(f"{path}: no images to write")
    container.mux(stream.encode())


def check_rate(suffix: str, fps: float) -> None:
    """Check that a format can play a frame rate.

    Raises:
        InputError: it cannot.
    """
    most = CODECS[suffix].fps_max
    if not 0 < fps <= most:
        raise InputError(f"fps: {suffix} plays up to {most:g} frames per second, got {fps:g}", "use {fps}", fps=f"{most:g}")


def as_pixels(image: Tensor) -> Pixels:
    """Round an image in [0, 1] to bytes."""
    return (image.detach().cpu().clamp(0, 1).numpy() * 255 + 0.5).astype(np.uint8)
