"""Captures as a video file: one static camera at L4GM's pose, the object in the middle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from chronosplat.cameras import orbit
from chronosplat.captures.background import separate
from chronosplat.captures.views import Views
from chronosplat.shapes import InputError

SUFFIXES = (".mp4", ".mov", ".webm", ".mkv", ".avi", ".gif", ".m4v")
MOST_FRAMES = 24  # what one forward pass of 4D-LRM was made for
SINGLE_VIEW_NOTE = "a single view leaves the back of the object unseen; what is not seen is guessed. Add cameras for a faithful back."


def load_video(path: Path, max_frames: int = MOST_FRAMES) -> Views:
    """Read up to ``max_frames`` frames, evenly spaced over the video.

    Raises:
        InputError: a file that cannot be decoded, or without a video stream or frames.
    """
    frames, times, alpha = _decode(path, max_frames)
    pixels = torch.from_numpy(np.stack(frames)).float() / 255
    images = pixels[..., :3]
    if alpha:
        alphas, notes = pixels[..., 3:], [f"{path.name}: its alpha channel is used"]
    else:
        images, alphas, note = separate(images, path.name)
        notes = [note]
    images, alphas = pad_square(images), pad_square(alphas)
    cameras = orbit([0.0] * len(images), 0.0, images.shape[1])
    times_ = torch.tensor(times, dtype=torch.float64)
    return Views(images, alphas, cameras, times_, torch.tensor([0.0, 1.0, 0.0]), (*notes, f"{path.name}: {SINGLE_VIEW_NOTE}"))


def _decode(path: Path, most: int) -> tuple[list[np.ndarray], list[float], bool]:
    import av  # late: training code reads captures' types but no video
    from av.error import FFmpegError

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"{path}: has no video stream")
            stream: Any = container.streams.video[0]
            stream.thread_type = "AUTO"
            kept: list[tuple[float, Any]] = []
            stride = 1
            for index, frame in enumerate(_frames(container, stream)):
                if index % stride:
                    continue
                pts, tick = frame.pts, stream.time_base
                seconds = index / float(stream.average_rate or 25) if pts is None or tick is None else float(pts * tick)
                kept.append((seconds, frame))
                if len(kept) > 6 * most:  # unknown length: thin out as it grows, so that memory does not
                    kept, stride = kept[::2], stride * 2
    except FFmpegError as error:
        raise InputError(f"{path}: cannot be decoded as a video ({error})") from error
    if not kept:
        raise InputError(f"{path}: has no frames")
    chosen = [kept[round(i)] for i in np.linspace(0, len(kept) - 1, min(most, len(kept)))]
    alpha = any(component.is_alpha for component in chosen[0][1].format.components)
    pictures = [frame.to_ndarray(format="rgba" if alpha else "rgb24") for _, frame in chosen]
    return pictures, [t for t, _ in chosen], alpha


def _frames(container: Any, stream: Any) -> Iterator[Any]:
    """The decoded frames; VP8 and VP9 with alpha need libvpx, since the usual decoders drop the alpha channel."""
    import av

    with_alpha = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
    if stream.metadata.get("alpha_mode") != "1" or stream.codec_context.name not in with_alpha:
        yield from container.decode(stream)
        return
    decoder: Any = av.CodecContext.create(with_alpha[stream.codec_context.name], "r")
    for packet in container.demux(stream):
        yield from decoder.decode(packet)


def pad_square(pictures: Tensor) -> Tensor:
    """Pictures [F, H, W, C] with zeros around them to make them square; zero alpha is nothing."""
    height, width = pictures.shape[1:3]
    size = max(height, width)
    top, left = (size - height) // 2, (size - width) // 2
    return F.pad(pictures, (0, 0, left, size - width - left, top, size - height - top))
