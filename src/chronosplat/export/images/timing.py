"""When the frames of a video happen in the scene."""

from __future__ import annotations

import math

from chronosplat.export.images.options import RenderOptions
from chronosplat.scenes import Scene

STILL_SECONDS = 4.0  # of a path in frozen time
LOOPS = 2  # how often time runs to the end and back along an orbit


def frozen_time(scene: Scene, options: RenderOptions) -> float:
    """The second at which time is frozen: the chosen one, else the middle of the scene."""
    if options.at is not None:
        return options.at
    return 0.0 if scene.seconds is None else (scene.seconds[0] + scene.seconds[1]) / 2


def steps_of(options: RenderOptions, fps: float, natural: float = STILL_SECONDS, is_open: bool = False) -> tuple[int, float]:
    """Return the number of frames, and the seconds of path between them.

    Args:
        natural: seconds that the path takes where the user did not say.
        is_open: whether the last frame of the natural duration stands at its end; else one step before it, and the video can loop.
    """
    seconds, ends = options.seconds or natural, int(is_open and options.seconds is None)
    if options.frames is not None:
        return options.frames, seconds / max(options.frames - ends, 1)
    return max(1, math.floor(seconds * fps + 1e-6) + 1 if ends else round(seconds * fps)), 1 / fps


def played(span: tuple[float, float], frames: int, step: float) -> list[float]:
    """Times of a scene that plays, and starts again after its end.

    Args:
        step: seconds of the scene between frames.
    """
    first, last = span
    period = last - first + step
    offsets = (i * step for i in range(frames))
    within = (o - period * math.floor(o / period + 1e-9) for o in offsets)
    return [min(max(first + o, first), last) for o in within]


def to_and_fro(span: tuple[float, float], options: RenderOptions, fps: float) -> list[float]:
    """Times that run from the first second to the last and back, a whole number of times, so that the video can loop."""
    first, last = span
    once = 2 * (last - first) / options.speed
    frames, step = steps_of(options, fps, LOOPS * once)
    loops = max(1, round(frames * step / once))
    phases = (i / frames * loops % 1 for i in range(frames))
    return [first + (1 - abs(2 * p - 1)) * (last - first) for p in phases]
