"""What L4GM is fed with: a video, or a posed capture's first camera, and the first frame from the sides where it is known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from chronosplat.cameras import Similarity
from chronosplat.captures import Clip, Rig, is_video, load_capture, open_clip, sort_into_rig
from chronosplat.captures.decode import video_fps
from chronosplat.captures.views import on_white
from chronosplat.metrics import mean_psnr
from chronosplat.multiview import GivenViews, load_given
from chronosplat.pipeline.common import ReconstructConfig
from chronosplat.shapes import InputError

USUAL_FPS = 15.0  # frames a second at which the released pipeline reconstructs; every second frame of 30 a second
ALIKE = 12.0  # dB between a given front view's object and the first frame's, below which they are said to differ
NEARLY_WHITE = 0.98  # brighter is background


@dataclass(frozen=True)
class Source:
    """Where the frames come from, and the first frame from all sides, if that is known already.

    Attributes:
        pictures: the frames. first_views: [4, S, S, 3] on white, or None. notes: what was found.
    """

    pictures: Clip | Rig
    first_views: Tensor | None
    notes: list[str]

    @property
    def world(self) -> Similarity:
        """To the capture's world; a video has none of its own."""
        return self.pictures.world if isinstance(self.pictures, Rig) else Similarity()


def open_source(config: ReconstructConfig, size: int) -> Source:
    """The frames of a video or of a posed capture's first camera.

    Raises:
        InputError: see open_clip, load_capture and sort_into_rig.
    """
    path = Path(config.input)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    notes = [f"pictures are framed in {size}x{size}, the size that the model takes; --size is not used"] if config.size else []
    own = config.video.matting if config.video.matting.startswith(("rembg", "none")) else "auto"  # the rest speaks of the video
    given = load_given(config.sequence.views, size, own) if config.sequence.views else None
    if not is_video(path):
        views = load_capture(path, config.split)
        rig = sort_into_rig(views)
        rig = replace(rig, times=rig.times[: config.video.max_frames])
        first, more = (rig.views_of(0, size), []) if given is None else checked_views(given, rig, size)
        found = "" if given or first is None else ", and the first moment from all four sides"
        notes.append(f"{path.name}: the first camera is the video ({len(rig.times)} moments){found}")
        return Source(rig, first, [*views.notes, *notes, *(given.notes if given else ()), *more])
    fps = config.video.fps
    if fps is None:
        rate = video_fps(path)
        fps = rate / max(1, round(rate / USUAL_FPS))
        notes.append(f"{path.name}: {rate:g} frames a second, reconstructed at {fps:g}; --fps takes others")
    clip = open_clip(path, replace(config.video, fps=fps))
    if given is None:
        return Source(clip, None, [*clip.notes, *notes])
    if config.video.crop == "auto":
        clip = clip.framed_like(given.box)
        notes.append("the video is framed as the given views are")
    views, more = checked_views(given, clip, size)
    return Source(clip, views, [*clip.notes, *notes, *given.notes, *more])


def checked_views(given: GivenViews, pictures: Clip | Rig, size: int) -> tuple[Tensor, list[str]]:
    """The given views, the video's first frame in front where there is no front view, and a warning where the two differ."""
    images, alphas = next(pictures.frames(size, range(1)))
    front = on_white(images, alphas)[None]
    if not given.has_front:
        return torch.cat([front, given.views[1:]]), []
    shown = (torch.minimum(given.views[:1], front) < NEARLY_WHITE).any(-1)
    alike = mean_psnr(given.views[:1][shown][None, None], front[shown][None, None])
    if alike >= ALIKE:
        return given.views, []
    return given.views, [
        f"warning: the front view and the video's first frame do not look alike ({alike:.1f} dB); are the views of another moment?"
    ]
