"""Cutting animations into clips of equal length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Window:
    """Frames of an animation that make one clip.

    Attributes:
        index: number of the clip within the animation.
        seconds: [T] times in the animation. Those past its end show its last pose (4D-LRM: the last frame is repeated).
    """

    index: int
    seconds: NDArray[np.float64]


def cut(duration: float, frames: int = 24, fps: float = 24.0, most: int = 0) -> list[Window]:
    """Cut an animation into consecutive windows of ``frames`` frames (L4GM: one second at 24 fps; every third frame is 8 fps).

    Frame i of a window lies i / fps after its start, so that windows join without a repeated frame. A rest shorter than a
    window is dropped; an animation shorter than a window makes one.

    Args:
        duration: seconds. most: use at most this many windows, evenly spread over the animation; 0 for all.
    """
    count = max(1, int(duration * fps / frames + 1e-6))
    chosen = range(count) if not most or count <= most else np.linspace(0, count - 1, most).round().astype(int).tolist()
    return [Window(int(i), (i * frames + np.arange(frames)) / fps) for i in chosen]
