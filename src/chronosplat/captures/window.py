"""Square crop windows: one framing for a whole video."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FILL = 0.75  # the object's longer side as a fraction of the window, as in L4GM's training and its published examples
SOLID = 0.5  # smallest alpha of an object pixel
THIN = 2  # object pixels that a row or column needs to count; fewer are noise
EMPTY = 1e-3  # fraction of the image below which there is no object


@dataclass(frozen=True)
class Window:
    """A square window in pixels; it may reach beyond the image."""

    left: int
    top: int
    side: int

    def crop(self, image: NDArray[np.uint8], fill: tuple[int, int, int]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Crop an image [H, W, C] to [side, side, C].

        Returns:
            The crop, with ``fill`` and alpha 0 outside the image, and which of its pixels lie inside, [side, side].
        """
        height, width, channels = image.shape
        canvas = np.empty((self.side, self.side, channels), np.uint8)
        canvas[:] = (*fill, 0)[:channels]
        inside = np.zeros((self.side, self.side), bool)
        rows = slice(max(0, -self.top), min(self.side, height - self.top))
        columns = slice(max(0, -self.left), min(self.side, width - self.left))
        if rows.start < rows.stop and columns.start < columns.stop:
            source = image[rows.start + self.top : rows.stop + self.top, columns.start + self.left : columns.stop + self.left]
            canvas[rows, columns] = source
            inside[rows, columns] = True
        return canvas, inside


def whole_window(width: int, height: int) -> Window:
    """Return the window of a whole image, made square."""
    side = max(width, height)
    return Window((width - side) // 2, (height - side) // 2, side)


def object_box(alpha: NDArray[np.floating]) -> tuple[float, float, float, float] | None:
    """Return left, top, right, bottom of the object in an alpha map [H, W], as fractions; None if there is no object."""
    solid = alpha >= SOLID
    rows, columns = np.flatnonzero(solid.sum(1) >= THIN), np.flatnonzero(solid.sum(0) >= THIN)
    if solid.mean() < EMPTY or not len(rows) or not len(columns):
        return None
    h, w = solid.shape
    return float(columns[0] / w), float(rows[0] / h), float((columns[-1] + 1) / w), float((rows[-1] + 1) / h)
