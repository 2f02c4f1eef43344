"""Video decoding, frame by frame: upright, with square pixels, at a requested frame rate.

Only the current frame is kept, so memory does not grow with the length of the video.
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
DEFAULT_FPS = 25.0  # where a file states none
EARLY, SHORT = 0.25, 0.03  # tolerance on a frame's start: EARLY of its duration, but of no more than SHORT seconds
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # the default decoders drop the alpha channel


@dataclass(frozen=True)
class VideoFrame:
    """A decoded frame with its timestamp.

    Attributes:
        aspect: width of a pixel divided by its height. scaler: PyAV's reformatter, shared by all frames.
    """

    seconds: float
    frame: Any
    aspect: float
    scaler: Any

    def pixels(self) -> NDArray[np.uint8]:
        """Convert to [H, W, 3] or, with alpha, [H, W, 4]: upright, with square pixels."""
        alpha = any(component.is_alpha for component in self.frame.format.components)
        width = max(1, round(self.frame.width * self.aspect))
        plain = self.scaler.reformat(self.frame, width=width, height=self.frame.height, format="rgba" if alpha else "rgb24")
        return _upright(plain.to_ndarray(), self.frame)


def _upright(image: NDArray[np.uint8], frame: Any) -> NDArray[np.uint8]:
    """Apply the file's display matrix: x' = a x + c y, y' = b x + d y."""
    found = next((bytes(data) for data in frame.side_data if data.type.name == "DISPLAYMATRIX"), None)
    if found is None:
        return image
    a, b, _, c, d = (int(n) for n in np.frombuffer(found, np.int32)[:5])
    if abs(b) > abs(a):  # a quarter turn
        image, a, d = image.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def sampled_frames(path: Path, fps: float | None = None, start: float = 0.0, end: float | None = None) -> Iterator[VideoFrame]:
    """Decode a video from ``start`` to ``end`` seconds.

    Args:
        fps: sample at even timestamps, each with the frame on screen at that time, so that a variable frame rate comes out
            even. None: every frame at its own timestamp.

    Yields:
        Frames, their timestamps strictly rising.

    Raises:
        InputError: undecodable, no video stream, or no frames from start to end.
    """
    import av  # late: training imports this package, but not av
    from av.error import FFmpegError

    count, last = 0, 0.0
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            if not container.streams.video:
                raise InputError(f"{path}: has no video stream" + (", only sound" if container.streams.audio else ""))
            stream: Any = container.streams.video[0]
            stream.thread_type = "AUTO"
            timed = _durations(_timestamps(container, stream), 1 / average_fps(stream))
            until = np.inf if end is None else end
            for frame in _every_frame(timed, start, until) if fps is None else _resampled(timed, fps, start, until):
                count, last = count + 1, frame.seconds
                yield frame
    except FFmpegError as error:
        before = int(last * 1000) / 1000  # rounded down, to stay clear of the damage
        what = f"damaged after {last:.3f} s" if count else "cannot be decoded as a video"
        remedy = "{end} takes the part before" if count and before > start else ""
        raise InputError(f"{path}: {what} ({error})", remedy, end=f"{before:g}") from error
    if count == 0:
        span = f" between {start:g} s and {'its end' if end is None else f'{end:g} s'}" if start or end is not None else ""
        raise InputError(f"{path}: has no frames{span}")


def video_fps(path: Path) -> float:
    """Return the mean frame rate that a video states.

    Raises:
        InputError: not a video.
    """
    import av
    from av.error import FFmpegError

    try:
        with av.open(str(path), metadata_errors="replace") as container:
            return average_fps(container.streams.video[0]) if container.streams.video else DEFAULT_FPS
    except FFmpegError as error:
        raise InputError(f"{path}: cannot be decoded as a video ({error})") from error


def average_fps(stream: Any) -> float:
    """Return a stream's frames per second, or the default if it states none."""
    rate = stream.average_rate or stream.guessed_rate
    return float(rate) if rate and 0.1 <= float(rate) <= 1000 else DEFAULT_FPS


def _durations(frames: Iterator[VideoFrame], default: float) -> Iterator[tuple[VideoFrame, float]]:
    """Pair every frame with its seconds on screen; ``default`` for the last."""
    previous: VideoFrame | None = None
    for frame in frames:
        if previous is not None:
            yield previous, frame.seconds - previous.seconds
        previous = frame
    if previous is not None:
        yield previous, default


def _slack(duration: float) -> float:
    return EARLY * min(duration, SHORT)


def _every_frame(timed: Iterator[tuple[VideoFrame, float]], start: float, end: float) -> Iterator[VideoFrame]:
    """Select the frames that begin from start to end."""
    for frame, duration in timed:
        if frame.seconds >= end - _slack(duration):
            return
        if frame.seconds >= start - _slack(duration):
            yield frame


def _resampled(timed: Iterator[tuple[VideoFrame, float]], fps: float, start: float, end: float) -> Iterator[VideoFrame]:
    """Sample at even timestamps from start to end, each with the frame on screen."""
    count = 0
    first: float | None = None
    for frame, duration in timed:
        gone = frame.seconds + duration - _slack(duration)
        if first is None:
            if gone <= start:
                continue
            first = frame.seconds if frame.seconds >= start - _slack(duration) else start
        while first + count / fps < min(gone, end - 1e-6):
            yield replace(frame, seconds=first + count / fps)
            count += 1
        if frame.seconds >= end:
            return


def _timestamps(container: Any, stream: Any) -> Iterator[VideoFrame]:
    """Decode frames with their seconds from the file's start; drop those not later than the one before."""
    from av.video.reformatter import VideoReformatter

    last, scaler = -np.inf, VideoReformatter()
    aspect = float(stream.sample_aspect_ratio or 1)
    beginning = (container.start_time or 0) / 1e6
    trusted = container.format.name != "avi"  # AVI stores the decoding order, not the display order
    for index, frame in enumerate(_decoded(container, stream)):
        pts, tick = frame.pts, stream.time_base
        known = trusted and pts is not None and tick is not None
        seconds = float(pts * tick) - beginning if known else index / average_fps(stream)  # pyright: ignore[reportOptionalOperand]
        if seconds > last:
            last = seconds
            yield VideoFrame(seconds, frame, aspect, scaler)


def _decoded(container: Any, stream: Any) -> Iterator[Any]:
    import av

    if stream.metadata.get("alpha_mode") != "1" or stream.codec_context.name not in ALPHA_DECODERS:
        yield from container.decode(stream)
        return
    decoder: Any = av.CodecContext.create(ALPHA_DECODERS[stream.codec_context.name], "r")
    for packet in container.demux(stream):
        yield from decoder.decode(packet)
