"""Video files, frame by frame: upright, with square pixels, at the frame rate that was asked for.

Nothing but the frame at hand is kept, so that a long video costs no more memory than a short one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chronosplat.shapes import InputError

SUFFIXES = (".mp4", ".mov", ".webm", ".mkv", ".avi", ".gif", ".m4v")
USUAL_FPS = 25.0  # where a file does not say
EARLY = 0.25  # of a frame: a moment that lies so little before a frame shows that frame


@dataclass(frozen=True)
class Shot:
    """A decoded frame at a moment. ``aspect`` is the width of its pixels by their height."""

    seconds: float
    frame: Any
    aspect: float = 1.0

    def pixels(self) -> NDArray[np.uint8]:
        """[H, W, 3] or, with alpha, [H, W, 4]: upright, stretched where its pixels are not square."""
        frame, angle = self.frame, self.frame.rotation
        if self.aspect != 1.0:
            frame = frame.reformat(width=max(1, round(frame.width * self.aspect)))
        alpha = any(component.is_alpha for component in frame.format.components)
        picture: NDArray[np.uint8] = frame.to_ndarray(format="rgba" if alpha else "rgb24")
        quarter_turns = round(angle / 90) % 4  # counter-clockwise, as FFmpeg counts
        return np.ascontiguousarray(np.rot90(picture, quarter_turns)) if quarter_turns else picture


def sampled_shots(path: Path, fps: float | None = None, start: float = 0.0, end: float | None = None) -> Iterator[Shot]:
    """The frames of a video from ``start`` to ``end`` seconds.

    Args:
        fps: moments at even distances, each with the frame that is on screen then, so that videos of variable frame rate
            come out even. None: every frame at its own moment.

    Yields:
        Shots, their moments rising strictly.

    Raises:
        InputError: a file that cannot be decoded, without a video stream, or with no frames from start to end.
    """
    import av  # late: training code reads captures' types but no video
    from av.error import FFmpegError

    count, last = 0, 0.0
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"{path}: has no video stream" + (", only sound" if container.streams.audio else ""))
            stream: Any = container.streams.video[0]
            stream.thread_type = "AUTO"
            slack = EARLY / average_fps(stream)
            shots = _between(_timed(container, stream), start - slack, np.inf if end is None else end - slack)
            for shot in shots if fps is None else _even(shots, fps, slack):
                count, last = count + 1, shot.seconds
                yield shot
    except FFmpegError as error:
        what = f"damaged after {last:.2f} s; --end {last:.2f} takes what is before" if count else "cannot be decoded as a video"
        raise InputError(f"{path}: {what} ({error})") from error
    if count == 0:
        span = f" between {start:g} s and {'its end' if end is None else f'{end:g} s'}" if start or end is not None else ""
        raise InputError(f"{path}: has no frames{span}")


def video_fps(path: Path) -> float:
    """The mean frame rate that a video claims.

    Raises:
        InputError: not a video.
    """
    import av
    from av.error import FFmpegError

    try:
        with av.open(str(path)) as container:
            return average_fps(container.streams.video[0]) if container.streams.video else USUAL_FPS
    except FFmpegError as error:
        raise InputError(f"{path}: cannot be decoded as a video ({error})") from error


def average_fps(stream: Any) -> float:
    """Frames a second of a stream, or the usual where it does not say."""
    rate = stream.average_rate or stream.guessed_rate
    return float(rate) if rate and 0.1 <= float(rate) <= 1000 else USUAL_FPS


def _between(shots: Iterator[Shot], start: float, end: float) -> Iterator[Shot]:
    for shot in shots:
        if shot.seconds >= end:
            return
        if shot.seconds >= start:
            yield shot


def _even(shots: Iterator[Shot], fps: float, slack: float) -> Iterator[Shot]:
    """Shots at even distances, beginning with the first: each with the frame that is on screen at its moment."""
    count, first = 0, 0.0
    shown: Shot | None = None
    for shot in shots:
        if shown is None:
            first = shot.seconds
        else:
            while first + count / fps < shot.seconds - slack:
                yield replace(shown, seconds=first + count / fps)
                count += 1
        shown = shot
    while shown is not None and first + count / fps <= shown.seconds + slack:
        yield replace(shown, seconds=first + count / fps)
        count += 1


def _timed(container: Any, stream: Any) -> Iterator[Shot]:
    """Frames with their seconds; those that do not come later than the one before are left out."""
    last = -np.inf
    aspect = float(stream.sample_aspect_ratio or 1)
    for index, frame in enumerate(_frames(container, stream)):
        pts, tick = frame.pts, stream.time_base
        seconds = index / average_fps(stream) if pts is None or tick is None else float(pts * tick)
        if seconds > last:
            last = seconds
            yield Shot(seconds, frame, aspect)


def _frames(container: Any, stream: Any) -> Iterator[Any]:
    """The decoded frames; VP8 and VP9 with alpha need libvpx, since the usual decoders drop the alpha channel."""
    import av

    with_alpha = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
    if stream.metadata.get("alpha_mode") != "1" or stream.codec_context.name not in with_alpha:
        yield from container.decode(stream)
        return
    decoder: Any = av.CodecContext.create(with_alpha[stream.codec_context.name], "r")
    for packet in container.demux(stream):
        yield from decoder.decode(packet)
