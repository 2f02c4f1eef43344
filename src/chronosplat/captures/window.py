"""A square window onto pictures: one framing for a whole video."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Window:
    """A square window onto pictures, in pixels; it may reach beyond them."""

    left: int
    top: int
    side: int

    def cut(self, picture: NDArray[np.uint8], fill: tuple[int, int, int]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The picture in the window [side, side, C], and which of its pixels there are; alpha is 0 outside."""
        height, width, channels = picture.shape
        canvas = np.empty((self.side, self.side, channels), np.uint8)
        canvas[:] = (*fill, 0)[:channels]
        inside = np.zeros((self.side, self.side), bool)
        rows = slice(max(0, -self.top), min(self.side, height - self.top))
        columns = slice(max(0, -self.left), min(self.side, width - self.left))
        if rows.start < rows.stop and columns.start < columns.stop:
            source = picture[rows.start + self.top : rows.stop + self.top, columns.start + self.left : columns.stop + self.left]
            canvas[rows, columns] = source
            inside[rows, columns] = True
        return canvas, inside


FILL = 0.75  # of the picture's side is the object's longer side, as in L4GM's training and its published examples
SOLID = 0.5  # coverage from which a pixel counts as the object
THIN = 2  # pixels of a row or column that must be object for it to count; less is noise
EMPTY = 1e-3  # share of the picture below which there is no object


def whole_window(width: int, height: int) -> Window:
    """The whole of a picture, made square."""
    side = max(width, height)
    return Window((width - side) // 2, (height - side) // 2, side)


def object_box(alpha: NDArray[np.floating]) -> tuple[float, float, float, float] | None:
    """Left, top, right, bottom of the object in shares of a picture whose coverage is [H, W]; None where there is no object."""
    solid = alpha >= SOLID
    rows, columns = np.flatnonzero(solid.sum(1) >= THIN), np.flatnonzero(solid.sum(0) >= THIN)
    if solid.mean() < EMPTY or not len(rows) or not len(columns):
        return None
    h, w = solid.shape
    return float(columns[0] / w), float(rows[0] / h), float((columns[-1] + 1) / w), float((rows[-1] + 1) / h)
