"""A clip: the object of a video, cut out and framed alike in all pictures.

The video is read twice: once in small pictures to find the object and how it is framed, then, picture by picture, for
the frames themselves, so that memory does not grow with its length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from chronosplat.captures.decode import Shot, sampled_shots
from chronosplat.captures.matting import Matte, choose_matte
from chronosplat.captures.survey import Survey
from chronosplat.captures.views import resize_straight
from chronosplat.captures.window import Window
from chronosplat.shapes import InputError

FILL = 0.75  # of the picture's side is the object's longer side, as in L4GM's training and its published examples
PEEK = 16  # pictures from which the kind of background is judged
CROPS = ("auto", "none")


@dataclass(frozen=True)
class VideoOptions:
    """What of a video to take, and how.

    Attributes:
        fps: frames a second; None takes every frame.
        start, end: seconds from the file's beginning; None: to its end.
        max_frames: stop after so many.
        matting: see choose_matte.
        crop: ``auto`` frames the object over the whole clip, ``none`` keeps the picture, made square.
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
            raise InputError(f"max frames: expected at least 1, got {self.max_frames}")
        if self.crop not in CROPS:
            raise InputError(f"crop: expected {' or '.join(CROPS)}; got {self.crop!r}")


@dataclass(frozen=True)
class Clip:
    """The frames of a video that were asked for, ready to be read one by one.

    Attributes:
        path, options: which frames of what. times: [T] seconds, float64. window: what of the picture is taken.
        notes: what was found, for the user; warnings begin with ``warning: ``.
    """

    path: Path
    options: VideoOptions
    times: Tensor
    window: Window
    matte: Matte
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.times)

    def frames(self, size: int, which: Sequence[int] | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Straight colours [size, size, 3] and alphas [size, size, 1], one frame at a time.

        Args:
            which: rising indices of frames; all by default.

        Raises:
            InputError: the file changed since it was surveyed.
        """
        which = range(len(self)) if which is None else which
        wanted = iter(which)
        index = next(wanted, None)
        for count, shot in enumerate(shots(self.path, self.options)):
            if index is None:
                return
            if count == index:
                yield self.framed(shot.pixels(), size)
                index = next(wanted, None)
        if index is not None:
            raise InputError(f"{self.path}: ended before frame {index} of {len(self)}; was the file changed meanwhile?")

    def framed(self, picture: NDArray[np.uint8], size: int) -> tuple[Tensor, Tensor]:
        """One picture as :meth:`frames` gives it."""
        pixels, inside = self.window.cut(picture, self.matte.fill)
        if self.window.side > 2 * size and pixels.shape[2] == 3:  # the matte needs no more pixels than that
            pixels = np.asarray(Image.fromarray(pixels).resize((2 * size, 2 * size), Image.Resampling.BOX))
            inside = np.array(Image.fromarray(inside).resize((2 * size, 2 * size), Image.Resampling.NEAREST))
        images, alphas = self.matte(pixels)
        alphas = alphas * torch.from_numpy(inside)[..., None]
        small = resize_straight(images[None], alphas[None], size, size)
        return small[0][0], small[1][0]


def shots(path: Path, options: VideoOptions) -> Iterator[Shot]:
    """The video's frames that the options ask for."""
    return islice(sampled_shots(path, options.fps, options.start, options.end), options.max_frames)


def open_clip(path: str | Path, options: VideoOptions = VideoOptions()) -> Clip:
    """Survey a video: which frames, where the object is, and what may go wrong.

    Raises:
        InputError: no such file, not a video, no frames in the span, or no object in any or in the first frame.
        UnavailableError: see choose_matte.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    matte = choose_matte(options.matting, [shot.pixels() for shot in islice(shots(path, options), PEEK)], path.name)
    survey = Survey(matte)
    for shot in shots(path, options):
        survey.add(shot.seconds, shot.pixels())
    survey.check(str(path))
    window = survey.whole() if options.crop == "none" else survey.object_window(FILL)
    notes = (matte.note, *survey.warnings())
    return Clip(path, options, torch.tensor(survey.times, dtype=torch.float64), window, matte, notes)
