"""Captures from a video or an image: one static camera at L4GM's pose, the object in the middle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from chronosplat.cameras import orbit
from chronosplat.captures.object_image import open_image
from chronosplat.captures.object_video import VideoOptions, open_video
from chronosplat.captures.views import Views, as_bytes, collected, evenly
from chronosplat.events import warning

MAX_FRAMES = 24  # 4D-LRM's number of input views
SINGLE_VIEW = warning(
    "single-view", "all images come from one viewpoint: the back of the object is unseen and is guessed; add cameras for a faithful back"
)


def load_video(
    path: Path,
    options: VideoOptions = VideoOptions(),
    max_frames: int = MAX_FRAMES,
    resize: Callable[[tuple[int, int]], tuple[int, int]] | None = None,
) -> Views:
    """Load up to ``max_frames`` frames, evenly spaced over the options' time span.

    Args:
        resize: maps the framed images' size (width, height) to the output size; None keeps it.

    Raises:
        InputError, UnavailableError: see open_video.
    """
    video = open_video(path, replace(options, max_frames=None))
    chosen = evenly(len(video), max_frames)
    own = video.window.side
    size = own if resize is None else resize((own, own))[0]
    pixels = collected(video.frames(size, chosen), torch.empty(len(chosen), size, size, 4, dtype=torch.uint8))
    cameras, up = orbit([0.0] * len(chosen), 0.0, size), torch.tensor([0.0, 1.0, 0.0])
    return Views(pixels=pixels, cameras=cameras, times=video.times[chosen], up=up, notices=(*video.notices, SINGLE_VIEW))


def load_image(path: Path, matting: str = "auto", resize: Callable[[tuple[int, int]], tuple[int, int]] | None = None) -> Views:
    """Load a single image as a capture of one view at time 0.

    Args:
        resize: see load_video.

    Raises:
        InputError, UnavailableError: see open_image.
    """
    image = open_image(path, matting)
    own = image.window.side
    size = own if resize is None else resize((own, own))[0]
    rgb, alpha = image.framed(size)
    cameras, up = orbit([0.0], 0.0, size), torch.tensor([0.0, 1.0, 0.0])
    times = torch.zeros(1, dtype=torch.float64)
    return Views(
        pixels=as_bytes(torch.cat([rgb, alpha], -1))[None], cameras=cameras, times=times, up=up, notices=(*image.notices, SINGLE_VIEW)
    )
