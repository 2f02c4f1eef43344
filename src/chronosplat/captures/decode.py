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
EARLY, SHORT = 0.25, 0.03  # a moment so little before a frame (of its time on screen, of at most so many seconds) shows that frame


@dataclass(frozen=True)
class VideoFrame:
    """A decoded frame at a moment. ``aspect`` is the width of its pixels by their height; ``scaler`` converts them."""

    seconds: float
    frame: Any
    aspect: float
    scaler: Any

    def pixels(self) -> NDArray[np.uint8]:
        """[H, W, 3] or, with alpha, [H, W, 4]: upright, stretched where its pixels are not square."""
        alpha = any(component.is_alpha for component in self.frame.format.components)
        width = max(1, round(self.frame.width * self.aspect))
        plain = self.scaler.reformat(self.frame, width=width, height=self.frame.height, format="rgba" if alpha else "rgb24")
        return _upright(plain.to_ndarray(), self.frame)


def _upright(picture: NDArray[np.uint8], frame: Any) -> NDArray[np.uint8]:
    """Turned and mirrored as the file's display matrix says: x' = a x + c y, y' = b x + d y."""
    found = next((bytes(data) for data in frame.side_data if data.type.name == "DISPLAYMATRIX"), None)
    if found is None:
        return picture
    a, b, _, c, d = (int(n) for n in np.frombuffer(found, np.int32)[:5])
    if abs(b) > abs(a):  # a quarter turn
        picture, a, d = picture.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def sampled_frames(path: Path, fps: float | None = None, start: float = 0.0, end: float | None = None) -> Iterator[VideoFrame]:
    """The frames of a video from ``start`` to ``end`` seconds after its beginning.

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
        with av.open(str(path), metadata_errors="replace") as container:
            if not container.streams.video:
                raise InputError(f"{path}: has no video stream" + (", only sound" if container.streams.audio else ""))
            stream: Any = container.streams.video[0]
            stream.thread_type = "AUTO"
            lasting = _lasting(_timed(container, stream), 1 / average_fps(stream))
            until = np.inf if end is None else end
            for shot in _every(lasting, start, until) if fps is None else _even(lasting, fps, start, until):
                count, last = count + 1, shot.seconds
                yield shot
    except FFmpegError as error:
        before = int(last * 1000) / 1000  # never beyond the damage
        what = f"damaged after {last:.3f} s" if count else "cannot be decoded as a video"
        remedy = "{end} takes the part before" if count and before > start else ""
        raise InputError(f"{path}: {what} ({error})", remedy, end=f"{before:g}") from error
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
        with av.open(str(path), metadata_errors="replace") as container:
            return average_fps(container.streams.video[0]) if container.streams.video else USUAL_FPS
    except FFmpegError as error:
        raise InputError(f"{path}: cannot be decoded as a video ({error})") from error


def average_fps(stream: Any) -> float:
    """Frames a second of a stream, or the usual where it does not say."""
    rate = stream.average_rate or stream.guessed_rate
    return float(rate) if rate and 0.1 <= float(rate) <= 1000 else USUAL_FPS


def _lasting(shots: Iterator[VideoFrame], usual: float) -> Iterator[tuple[VideoFrame, float]]:
    """Every shot with the seconds that it stays on screen; the last stays as long as usual."""
    before: VideoFrame | None = None
    for shot in shots:
        if before is not None:
            yield before, shot.seconds - before.seconds
        before = shot
    if before is not None:
        yield before, usual


def _slack(lasting: float) -> float:
    return EARLY * min(lasting, SHORT)


def _every(shots: Iterator[tuple[VideoFrame, float]], start: float, end: float) -> Iterator[VideoFrame]:
    """The shots that begin from start to end."""
    for shot, lasting in shots:
        if shot.seconds >= end - _slack(lasting):
            return
        if shot.seconds >= start - _slack(lasting):
            yield shot


def _even(shots: Iterator[tuple[VideoFrame, float]], fps: float, start: float, end: float) -> Iterator[VideoFrame]:
    """Shots at even distances from start to end, each with the frame that is on screen at its moment."""
    count = 0
    first: float | None = None
    for shot, lasting in shots:
        gone = shot.seconds + lasting - _slack(lasting)
        if first is None:
            if gone <= start:
                continue
            first = shot.seconds if shot.seconds >= start - _slack(lasting) else start
        while first + count / fps < min(gone, end - 1e-6):
            yield replace(shot, seconds=first + count / fps)
            count += 1
        if shot.seconds >= end:
            return


def _timed(container: Any, stream: Any) -> Iterator[VideoFrame]:
    """Frames with their seconds from the file's beginning; those that do not come later than the one before are left out."""
    from av.video.reformatter import VideoReformatter

    last, scaler = -np.inf, VideoReformatter()
    aspect = float(stream.sample_aspect_ratio or 1)
    beginning = (container.start_time or 0) / 1e6
    trusted = container.format.name != "avi"  # which keeps the order of decoding, not of showing
    for index, frame in enumerate(_frames(container, stream)):
        pts, tick = frame.pts, stream.time_base
        known = trusted and pts is not None and tick is not None
        seconds = float(pts * tick) - beginning if known else index / average_fps(stream)  # pyright: ignore[reportOptionalOperand]
        if seconds > last:
            last = seconds
            yield VideoFrame(seconds, frame, aspect, scaler)


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
