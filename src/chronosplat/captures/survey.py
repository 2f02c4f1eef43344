"""First pass over a video: timestamps, the object's bounding box, and warnings."""

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
THUMB = 32  # side in pixels of the thumbnails that detect a moving camera
MOVED = 0.06  # mean background change of a frame that counts as camera motion
SOME = 0.25  # fraction of such frames that triggers the warning


@dataclass
class Survey:
    """Statistics of the frames so far; the frames themselves are not kept.

    Attributes:
        times: timestamp of every frame. processed: number of frames matted. missing, touching: timestamps without the object,
            and with it at the border. first_seen, first_box: the object's first timestamp, and its box in fractions of the image.
    """

    matte: Matte
    times: list[float] = field(default_factory=list)
    size: tuple[int, int] = (0, 0)
    processed: int = 0
    missing: list[float] = field(default_factory=list)
    touching: list[float] = field(default_factory=list)
    first_seen: float = 0.0
    first_box: tuple[float, float, float, float] | None = None
    moved: int = 0
    compared: int = 0
    _box: tuple[float, float, float, float] | None = None
    _last_processed: float = -np.inf
    _background: tuple[NDArray[np.float32], NDArray[np.bool_]] | None = None

    def add(self, seconds: float, image: NDArray[np.uint8]) -> None:
        """Add the next frame [H, W, 3 or 4].

        Raises:
            InputError: the image size changes.
        """
        height, width = image.shape[:2]
        if not self.times:
            self.size = (width, height)
        elif self.size != (width, height):
            was = "x".join(map(str, self.size))
            change = f"the image size changes from {was} to {width}x{height} at {seconds:.2f} s"
            raise InputError(change, "choose {start} and {end} around it", start=..., end=...)
        self.times.append(seconds)
        if self.matte.slow and seconds - self._last_processed < SLOW_EVERY:
            return
        self._last_processed = seconds
        factor = min(1.0, SIDE / max(width, height))
        small = np.asarray(Image.fromarray(image).resize((max(1, round(width * factor)), max(1, round(height * factor)))))
        self._process(seconds, small)

    def _process(self, seconds: float, image: NDArray[np.uint8]) -> None:
        alpha = self.matte(image)[1][..., 0].numpy()
        solid = alpha >= SOLID
        self.processed += 1
        if self.matte.sees_background:
            self._compare_background(image, solid)
        box = object_box(alpha)
        if box is None:
            self.missing.append(seconds)
            return
        if any(edge.sum() >= THIN for edge in (solid[0], solid[-1], solid[:, 0], solid[:, -1])):
            self.touching.append(seconds)
        if self.first_box is None:
            self.first_seen, self.first_box = seconds, box
        old = self._box or box
        self._box = (min(old[0], box[0]), min(old[1], box[1]), max(old[2], box[2]), max(old[3], box[3]))

    def _compare_background(self, image: NDArray[np.uint8], solid: NDArray[np.bool_]) -> None:
        """Compare the background with the first frame's."""
        thumb = np.asarray(Image.fromarray(image[..., :3]).resize((THUMB, THUMB), Image.Resampling.BOX), np.float32) / np.float32(255)
        around = np.asarray(Image.fromarray(solid).resize((THUMB, THUMB), Image.Resampling.NEAREST)) == 0
        if not around.any():  # the matte covers the whole image: use its rim
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
        """Raise InputError if no frame shows an object, or the first one does not."""
        if len(self.missing) == self.processed:
            raise InputError(f"{what}: no object found in any of its {len(self.times)} frames", "try another {matting}", matting=...)
        if self.missing and self.missing[0] == self.times[0]:
            raise InputError(f"{what}: no object in its first frame", "{start} begins where there is one", start=f"{self.first_seen:.3f}")

    def warnings(self) -> list[Notice]:
        """Return warnings about a missing or cropped object and a moving camera."""
        found = []
        if self.missing:
            frames = f"{len(self.missing)} of {self.processed} frames, first at {self.missing[0]:.2f} s"
            found.append(warning("object-missing", f"the object is missing in {frames}"))
        if self.touches:
            frames = f"{len(self.touching)} of {self.processed} frames, first at {self.touching[0]:.2f} s"
            found.append(warning("touches-border", f"the object touches the image's border in {frames}; the part beyond it is lost"))
        if self.compared and self.moved > SOME * self.compared:
            change = f"the background changes in {self.moved} of {self.compared} frames"
            found.append(warning("moving-camera", f"the camera seems to move: {change}; a static camera is expected"))
        return found

    @property
    def touches(self) -> bool:
        """Whether the object touches the border in some frame."""
        return bool(self.touching) and self.matte.kind != "none"

    def whole(self) -> Window:
        """Return the window of the whole image, made square."""
        return whole_window(*self.size)

    def object_window(self, fill: float) -> Window:
        """Return a square window around the object of all frames; its longer side takes the fraction ``fill`` of the square."""
        if self._box is None or self.matte.kind == "none":
            return self.whole()
        width, height = self.size
        left, top, right, bottom = self._box[0] * width, self._box[1] * height, self._box[2] * width, self._box[3] * height
        side = max(8, round(max(right - left, bottom - top) / fill))
        return Window(round((left + right - side) / 2), round((top + bottom - side) / 2), side)
