"""Captures as a video file: one static camera at L4GM's pose, the object in the middle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from chronosplat.cameras import orbit
from chronosplat.captures.clip import VideoOptions, open_clip
from chronosplat.captures.views import Views

MOST_FRAMES = 24  # what one forward pass of 4D-LRM was made for
SINGLE_VIEW_NOTE = "a single view leaves the back of the object unseen; what is not seen is guessed. Add cameras for a faithful back."


def load_video(path: Path, options: VideoOptions = VideoOptions(), max_frames: int = MOST_FRAMES) -> Views:
    """Read up to ``max_frames`` frames, evenly spaced over what the options ask for.

    Raises:
        InputError, UnavailableError: see open_clip.
    """
    clip = open_clip(path, replace(options, max_frames=None))
    chosen = torch.linspace(0, len(clip) - 1, min(max_frames, len(clip))).round().long()
    size = clip.window.side
    images, alphas = (torch.stack(part) for part in zip(*clip.frames(size, chosen.tolist()), strict=True))
    cameras = orbit([0.0] * len(images), 0.0, size)
    notes = (*clip.notes, f"{path.name}: {SINGLE_VIEW_NOTE}")
    return Views(images, alphas, cameras, clip.times[chosen], torch.tensor([0.0, 1.0, 0.0]), notes)
