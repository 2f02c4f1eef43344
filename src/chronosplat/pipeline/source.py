"""L4GM's input: a video, or a posed capture's first camera, and the first frame's other views where they are known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from chronosplat.cameras import Similarity
from chronosplat.captures import ObjectVideo, Rig, is_video, load_capture, open_video, sort_into_rig
from chronosplat.captures.decode import video_fps
from chronosplat.captures.views import on_white
from chronosplat.events import Notice, info, warning
from chronosplat.metrics import mean_psnr
from chronosplat.multiview import GivenViews, load_given
from chronosplat.pipeline.config import ReconstructConfig
from chronosplat.shapes import InputError

USUAL_FPS = 15.0  # of the released pipeline: every second frame at 30 per second
MIN_FRONT_PSNR = 12.0  # dB between a given front view and the first frame, below which they differ
NEARLY_WHITE = 0.98  # brighter is background


@dataclass(frozen=True)
class Source:
    """The frames, and the first frame's views if they are known.

    Attributes:
        frames: of the reference camera. first_views: [4, S, S, 3] on white, or None. notices: what was found.
    """

    frames: ObjectVideo | Rig
    first_views: Tensor | None
    notices: list[Notice]

    @property
    def world(self) -> Similarity:
        """To the capture's world; a video has none of its own."""
        return self.frames.world if isinstance(self.frames, Rig) else Similarity()


def open_source(config: ReconstructConfig, size: int) -> Source:
    """The frames of a video or of a posed capture's first camera.

    Raises:
        InputError: see open_video, load_capture and sort_into_rig.
    """
    path = Path(config.input)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    notices: list[Notice] = []
    if config.size:
        notices.append(info("size-unused", f"images are framed in {size}x{size}, the model's input size; size={config.size} is not used"))
    own = config.video.matting if config.video.matting.startswith(("rembg", "none")) else "auto"  # other modes are the video's
    given = load_given(config.sequence.views, size, own) if config.sequence.views else None
    more = [] if given is None else list(given.notices)
    if not is_video(path):
        views = load_capture(path, config.split)
        rig = sort_into_rig(views)
        rig = replace(rig, times=rig.times[: config.video.max_frames])
        first, differ = (rig.views_of(0, size), []) if given is None else checked_views(given, rig, size)
        found = "" if given or first is None else ", and the first timestamp from all four azimuths"
        notices.append(info("reference-camera", f"{path.name}: the first camera is the video ({len(rig.times)} timestamps){found}"))
        return Source(rig, first, [*views.notices, *notices, *more, *differ])
    fps = config.video.fps
    if fps is None:
        rate = video_fps(path)
        fps = rate / max(1, round(rate / USUAL_FPS))
        sampled = f"{path.name}: {rate:g} frames per second, reconstructed at {fps:g}"
        notices.append(info("frame-rate", sampled, "{fps} changes that", fps=...))
    video = open_video(path, replace(config.video, fps=fps))
    if given is None:
        return Source(video, None, [*video.notices, *notices])
    if config.video.crop == "auto":
        video = video.framed_like(given.box)
        notices.append(info("framed-like-views", "the video is framed like the given views"))
    first, differ = checked_views(given, video, size)
    return Source(video, first, [*video.notices, *notices, *more, *differ])


def checked_views(given: GivenViews, frames: ObjectVideo | Rig, size: int) -> tuple[Tensor, list[Notice]]:
    """The given views, with the first frame in front where there is no front view, and a warning where the two differ."""
    images, alphas = next(frames.frames(size, range(1)))
    front = on_white(images, alphas)[None]
    if not given.has_front:
        return torch.cat([front, given.views[1:]]), []
    shown = (torch.minimum(given.views[:1], front) < NEARLY_WHITE).any(-1)
    psnr = mean_psnr(given.views[:1][shown][None, None], front[shown][None, None])
    if psnr >= MIN_FRONT_PSNR:
        return given.views, []
    differ = f"the front view and the video's first frame differ ({psnr:.1f} dB); are the views of another time?"
    return given.views, [warning("views-differ", differ)]
