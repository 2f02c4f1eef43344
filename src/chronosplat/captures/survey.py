"""A first pass over a video: when and where its object is, and what may go wrong."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chronosplat.captures.matting import Matte
from chronosplat.captures.window import SOLID, THIN, Window, object_box, whole_window
from chronosplat.events import Notice, warning
from chronosplat.shapes import InputError

SIDE = 320  # pixels of the longer side
SLOW_EVERY = 0.25  # seconds between frames that a slow matte processes
THUMB = 32  # pixels of the images in which a moving camera is detected
MOVED = 0.06  # mean change of the background's colours from which the camera seems to move
SOME = 0.25  # fraction of the frames in which it must show


@dataclass
class Survey:
    """What is known of a video's frames so far: a few numbers per frame, never the frames.

    Attributes:
        times: seconds of every frame. looked: how many were processed. missing, touching: seconds without the object, and
            with it at the border. first_seen, first_box: when and where the object first is, as fractions of the image.
    """

    matte: Matte
    times: list[float] = field(default_factory=list)
    size: tuple[int, int] = (0, 0)
    looked: int = 0
    missing: list[float] = field(default_factory=list)
    touching: list[float] = field(default_factory=list)
    first_seen: float = 0.0
    first_box: tuple[float, float, float, float] | None = None
    moved: int = 0
    compared: int = 0
    _box: tuple[float, float, float, float] | None = None
    _last_look: float = -np.inf
    _background: tuple[NDArray[np.float32], NDArray[np.bool_]] | None = None

    def add(self, seconds: float, picture: NDArray[np.uint8]) -> None:
        """Look at the next frame [H, W, 3 or 4].

        Raises:
            InputError: it is of another size than the first.
        """
        height, width = picture.shape[:2]
        if not self.times:
            self.size = (width, height)
        elif self.size != (width, height):
            was = "x".join(map(str, self.size))
            change = f"the image size changes from {was} to {width}x{height} at {seconds:.2f} s"
            raise InputError(change, "choose {start} and {end} around it", start=..., end=...)
        self.times.append(seconds)
        if self.matte.slow and seconds - self._last_look < SLOW_EVERY:
            return
        self._last_look = seconds
        factor = min(1.0, SIDE / max(width, height))
        small = np.asarray(Image.fromarray(picture).resize((max(1, round(width * factor)), max(1, round(height * factor)))))
        self._look(seconds, small)

    def _look(self, seconds: float, picture: NDArray[np.uint8]) -> None:
        alpha = self.matte(picture)[1][..., 0].numpy()
        solid = alpha >= SOLID
        self.looked += 1
        if self.matte.sees_background:
            self._compare(picture, solid)
        box = object_box(alpha)
        if box is None:
            self.missing.append(seconds)
            return
        edges = [solid[0], solid[-1], solid[:, 0], solid[:, -1]]
        if any(edge.sum() >= THIN for edge in edges):
            self.touching.append(seconds)
        if self.first_box is None:
            self.first_seen, self.first_box = seconds, box
        old = self._box or box
        self._box = (min(old[0], box[0]), min(old[1], box[1]), max(old[2], box[2]), max(old[3], box[3]))

    def _compare(self, picture: NDArray[np.uint8], solid: NDArray[np.bool_]) -> None:
        """Compare the surroundings of the object with the first frame's."""
        thumb = np.asarray(Image.fromarray(picture[..., :3]).resize((THUMB, THUMB), Image.Resampling.BOX)).astype(np.float32) / np.float32(
            255
        )
        around = np.asarray(Image.fromarray(solid).resize((THUMB, THUMB), Image.Resampling.NEAREST)) == 0
        if not around.any():  # everything counts as the object: the rim is the best guess
            around[[0, 1, -2, -1]] = True
            around[:, [0, 1, -2, -1]] = True
        if self._background is None:
            self._background = thumb, around
            return
        both = around & self._background[1]
        if both.sum() >= THUMB:
            self.compared += 1
            self.moved += float(np.abs(thumb - self._background[0])[both].mean()) > MOVED

    def check(self, what: str) -> None:
        """Refuse a video without an object.

        Raises:
            InputError: no object in any frame, or none in the first.
        """
        if len(self.missing) == self.looked:
            raise InputError(f"{what}: no object found in any of its {len(self.times)} frames", "try another {matting}", matting=...)
        if self.missing and self.missing[0] == self.times[0]:
            raise InputError(f"{what}: no object in its first frame", "{start} begins where there is one", start=f"{self.first_seen:.3f}")

    def warnings(self) -> list[Notice]:
        """What the user should know before the result."""
        found = []
        if self.missing:
            some = f"{len(self.missing)} of {self.looked} frames, first at {self.missing[0]:.2f} s"
            found.append(warning("object-missing", f"the object is missing in {some}"))
        if self.touches:
            some = f"{len(self.touching)} of {self.looked} frames, first at {self.touching[0]:.2f} s"
            found.append(warning("touches-border", f"the object touches the image's border in {some}; the part beyond it is lost"))
        if self.compared and self.moved > SOME * self.compared:
            change = f"the background changes in {self.moved} of {self.compared} frames"
            found.append(warning("moving-camera", f"the camera seems to move: {change}; a static camera is expected"))
        return found

    @property
    def touches(self) -> bool:
        """Whether the object reaches the border in some frame."""
        return bool(self.touching) and self.matte.kind != "none"

    def whole(self) -> Window:
        """The whole image, made square."""
        return whole_window(*self.size)

    def object_window(self, fill: float) -> Window:
        """A square around the object of all frames, whose longer side takes the fraction ``fill`` of it."""
        if self._box is None or self.matte.kind == "none":
            return self.whole()
        width, height = self.size
        left, top, right, bottom = self._box[0] * width, self._box[1] * height, self._box[2] * width, self._box[3] * height
        side = max(8, round(max(right - left, bottom - top) / fill))
        return Window(round((left + right - side) / 2), round((top + bottom - side) / 2), side)
