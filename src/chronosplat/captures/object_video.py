"""The object of a video: background removed, with one framing for all frames.

The video is decoded twice: first at low resolution to find the object and its framing, then frame by frame, so that memory
does not grow with its length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from chronosplat.captures.decode import VideoFrame, sampled_frames
from chronosplat.captures.matting import Matte, choose_matte
from chronosplat.captures.object_image import frame_image
from chronosplat.captures.survey import Survey
from chronosplat.captures.window import FILL, Window
from chronosplat.events import Notice
from chronosplat.shapes import InputError

PEEK = 16  # frames that decide the kind of matte
CROPS = ("auto", "none")


@dataclass(frozen=True)
class VideoOptions:
    """Which frames of a video to take, and how.

    Attributes:
        fps: frames per second to take; by default every frame, for l4gm about 15.
        start: first second of the video.
        end: second of the video to end before.
        max_frames: maximum number of frames: l4gm takes the first, 4d-lrm evenly spaced ones (by default all, of a video 24).
        matting: background removal: auto, alpha, uniform (background of one colour), rembg, rembg:MODEL or none.
        crop: auto frames the object over the whole video, none keeps the image, made square.
    """

    fps: float | None = None
    start: float = 0.0
    end: float | None = None
    max_frames: int | None = None
    matting: str = "auto"
    crop: str = "auto"

    def __post_init__(self) -> None:
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise InputError(f"fps: expected a number above 0, at most 1000; got {self.fps:g}")
        if not self.start >= 0:
            raise InputError(f"start: expected seconds, 0 or more; got {self.start:g}")
        if self.end is not None and not self.end > self.start:
            raise InputError(f"end: expected to lie after the start ({self.start:g} s), got {self.end:g}")
        if self.max_frames is not None and self.max_frames < 1:
            raise InputError(f"max_frames: expected at least 1, got {self.max_frames}")
        if self.crop not in CROPS:
            raise InputError(f"crop: expected {' or '.join(CROPS)}; got {self.crop!r}")


@dataclass(frozen=True)
class ObjectVideo:
    """The selected frames of a video, read one by one.

    Attributes:
        times: [T] seconds, float64. window: the crop. size: width and height of the video.
        first_box: left, top, right, bottom of the object in the first frame, as fractions. notices: what was detected.
    """

    path: Path
    options: VideoOptions
    times: Tensor
    window: Window
    matte: Matte
    size: tuple[int, int]
    first_box: tuple[float, float, float, float]
    notices: tuple[Notice, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.times)

    def frames(self, size: int, which: Sequence[int] | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield straight colours [size, size, 3] and alphas [size, size, 1] frame by frame.

        Args:
            which: rising indices of frames; all by default.

        Raises:
            InputError: the file changed since it was surveyed.
        """
        remaining = iter(range(len(self)) if which is None else which)
        index = next(remaining, None)
        for count, frame in enumerate(selected_frames(self.path, self.options)):
            if index is None:
                return
            if count == index:
                yield frame_image(frame.pixels(), self.window, self.matte, size)
                index = next(remaining, None)
        if index is not None:
            raise InputError(f"{self.path}: ended before frame {index} of {len(self)}; was the file changed meanwhile?")

    def framed_like(self, box: tuple[float, float, float, float]) -> ObjectVideo:
        """Reframe the video so that the object of its first frame fills ``box`` (fractions of a square)."""
        (width, height), (left, top, right, bottom) = self.size, self.first_box
        side = max(8, round((bottom - top) * height / max(box[3] - box[1], 1e-3)))
        middle = (left + right) / 2 * width, (top + bottom) / 2 * height
        corner = (box[0] + box[2]) / 2 * side, (box[1] + box[3]) / 2 * side
        return replace(self, window=Window(round(middle[0] - corner[0]), round(middle[1] - corner[1]), side))


def selected_frames(path: Path, options: VideoOptions) -> Iterator[VideoFrame]:
    """Decode the frames that the options select."""
    return islice(sampled_frames(path, options.fps, options.start, options.end), options.max_frames)


def open_video(path: str | Path, options: VideoOptions = VideoOptions()) -> ObjectVideo:
    """Survey a video: timestamps, the object's framing, and warnings.

    Raises:
        InputError: no such file, not a video, no frames in the time span, or no object in any or in the first frame.
        UnavailableError: see choose_matte.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    matte = choose_matte(options.matting, [frame.pixels() for frame in islice(selected_frames(path, options), PEEK)], path.name)
    survey = Survey(matte)
    for frame in selected_frames(path, options):
        survey.add(frame.seconds, frame.pixels())
    survey.check(str(path))
    window = survey.whole() if options.crop == "none" else survey.object_window(FILL)
    notices = (matte.notice, *survey.warnings())
    times = torch.tensor(survey.times, dtype=torch.float64)
    return ObjectVideo(path, options, times, window, matte, survey.size, survey.first_box or (0.0, 0.0, 1.0, 1.0), notices)
