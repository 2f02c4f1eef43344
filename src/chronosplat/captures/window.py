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
