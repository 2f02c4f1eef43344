"""MP4 (H.264) and WebM (VP9) files, through PyAV."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from chronosplat.files import atomic_file
from chronosplat.shapes import InputError

CODECS = {".mp4": ("libx264", {"crf": "18", "preset": "medium"}), ".webm": ("libvpx-vp9", {"crf": "24", "b:v": "0"})}


def write_video(images: Iterable[Tensor], path: str | Path, fps: float = 24.0) -> None:
    """Write images [H, W, 3] in [0, 1] as they come, by atomic rename.

    Raises:
        InputError: an unknown suffix or no images.
    """
    import av  # late: nothing else of the exports needs it

    path = Path(path)
    if path.suffix not in CODECS:
        raise InputError(f"{path}: unknown video format; expected {' or '.join(CODECS)}")
    codec, options = CODECS[path.suffix]
    with atomic_file(path) as fresh, av.open(str(fresh), "w") as container:
        stream: Any = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001), options=options)
        stream.pix_fmt = "yuv420p"
        count = 0
        for image in images:
            pixels = (image.detach().cpu().clamp(0, 1).numpy() * 255 + 0.5).astype(np.uint8)
            pixels = pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2]  # the codec wants even sides
            if not count:
                stream.height, stream.width = pixels.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")))
            count += 1
        if not count:
            raise InputError(f"{path}: no images to write")
        container.mux(stream.encode())
