"""Captures from a video file: one static camera at L4GM's pose, the object in the middle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from chronosplat.cameras import orbit
from chronosplat.captures.object_video import VideoOptions, open_video
from chronosplat.captures.views import Views, evenly
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
    images, alphas = (torch.stack(part) for part in zip(*video.frames(size, chosen), strict=True))
    cameras = orbit([0.0] * len(images), 0.0, size)
    return Views(images, alphas, cameras, video.times[chosen], torch.tensor([0.0, 1.0, 0.0]), (*video.notices, SINGLE_VIEW))
