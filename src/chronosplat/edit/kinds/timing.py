"""Edits of time: trim, retime, slow motion, loop, and sampling into frames."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from chronosplat.edit.registry import Edit, edit_kind
from chronosplat.edit.sampled import sampled_times
from chronosplat.events import Events, info
from chronosplat.scenes import FAINT, Editable, Scene, TimeMap, to_sequence
from chronosplat.shapes import InputError

FRAMES = 24  # of a continuous scene that is sampled


def span_of(scene: Scene, edit: Edit) -> tuple[float, float]:
    """The scene's first and last second.

    Raises:
        InputError: it is static, or has one frame.
    """
    if scene.seconds is None or scene.seconds[0] == scene.seconds[1]:
        raise InputError(f"{edit.name}: the scene is static, it has no times to change")
    return scene.seconds


def check_inside(edit: Edit, times: tuple[float, ...], span: tuple[float, float]) -> None:
    """Refuse times outside the scene.

    Raises:
        InputError: which one.
    """
    slack = 1e-6 * max(1.0, span[1] - span[0])
    for seconds in times:
        if not span[0] - slack <= seconds <= span[1] + slack:
            raise InputError(f"{edit.name}: {seconds:g} s lies outside the scene, which spans {span[0]:g} to {span[1]:g} s")


@edit_kind("trim")
@dataclass(frozen=True)
class Trim(Edit):
    """Keep an interval of time. Times stay as they are."""

    start: float
    """First second."""
    end: float
    """Last second."""

    def check(self) -> None:
        """Refuse an empty interval."""
        if self.start >= self.end:
            raise self.wrong("end", f"a time after the start, {self.start:g} s")

    def apply(self, scene: Editable, events: Events) -> Scene:
        """Trim the scene."""
        first, last = span_of(scene, self)
        check_inside(self, (self.start, self.end), (first, last))
        return scene.trimmed(max(self.start, first), min(self.end, last))


@edit_kind("retime")
@dataclass(frozen=True)
class Retime(Edit):
    """Shift a scene in time, stretch it, or both."""

    start: float | None = None
    """Second at which the scene shall begin; None: where it does."""
    duration: float | None = None
    """Seconds that it shall take; None: what it does."""

    def check(self) -> None:
        """Refuse a duration that is no duration."""
        if self.duration is not None and self.duration <= 0:
            raise self.wrong("duration", "seconds above 0")

    def apply(self, scene: Editable, events: Events) -> Scene:
        """Retime the scene."""
        if self == Retime():
            return scene
        first, last = span_of(scene, self)
        rate = 1.0 if self.duration is None else self.duration / (last - first)
        start = first if self.start is None else self.start
        return scene.retimed(TimeMap.affine(start - rate * first, rate))


@edit_kind("slow-motion")
@dataclass(frozen=True)
class SlowMotion(Edit):
    """Slow a scene down, or a part of it; what follows is later."""

    factor: float
    """How many times slower; below 1 is faster."""
    start: float | None = None
    """Second at which slow motion begins; None: the first."""
    end: float | None = None
    """Second at which it ends; None: the last."""

    def check(self) -> None:
        """Refuse to stop time."""
        if self.factor <= 0:
            raise self.wrong("factor", "a number above 0")

    def apply(self, scene: Editable, events: Events) -> Scene:
        """Slow the scene down."""
        first, last = span_of(scene, self)
        start, end = (first if self.start is None else self.start), (last if self.end is None else self.end)
        if start >= end:
            raise self.wrong("end", f"a time after the start, {start:g} s")
        check_inside(self, (start, end), (first, last))
        if self.factor == 1:
            return scene
        times = [first, *(t for t in (start, end) if first < t < last), last]
        mapped = [t + (self.factor - 1) * min(max(t - start, 0.0), end - start) for t in times]
        change = TimeMap(tuple(times), tuple(mapped))
        slow = scene.retimed(change)
        if not change.is_affine:
            self._compare(scene, slow, change, events)
        return slow

    def _compare(self, scene: Scene, slow: Scene, change: TimeMap, events: Events) -> None:
        """Say how far Gaussians are from where they should be, if they are."""
        largest, size = 0.0, 0.0
        for seconds in sampled_times(scene):
            wanted, found = scene.at(seconds), slow.at(float(change.seconds(torch.tensor(seconds))))
            seen = (wanted.opacities >= FAINT) | (found.opacities >= FAINT)
            if bool(seen.any()):
                off = (wanted.means - found.means).norm(dim=-1) * torch.maximum(wanted.opacities, found.opacities)
                largest, size = max(largest, float(off[seen].max())), max(size, float(wanted.scales[seen].amax(-1).median()))
        if largest > size:
            text = f"slow-motion: Gaussians that live longer than the part are off by {largest:.2g} at most (world units)"
            events.notice(info("slow-motion", text, "sample the scene into frames first to avoid it"))


@edit_kind("loop")
@dataclass(frozen=True)
class Loop(Edit):
    """Cross-fade the end into the beginning, so that the scene repeats without a jump. It becomes shorter by the fade.

    The motion of a deformable scene is blended. Frames of a sequence fade into each other. Gaussians in linear motion are sampled
    into frames.
    """

    fade: float
    """Seconds of the cross-fade, at most half of the scene."""

    def check(self) -> None:
        """Refuse a fade of no length."""
        if self.fade <= 0:
            raise self.wrong("fade", "seconds above 0")

    def apply(self, scene: Editable, events: Events) -> Scene:
        """Loop the scene."""
        first, last = span_of(scene, self)
        if self.fade > (last - first) / 2:
            raise self.wrong("fade", f"at most half of the scene's {last - first:g} s")
        looped = scene.looped(self.fade)
        if looped is not None:
            return looped
        frames = max(FRAMES, math.ceil(2 * (last - first) / self.fade) + 1)
        events.notice(info("loop-frames", f"loop: the {scene.kind} is sampled into {frames} frames"))
        return to_sequence(scene, scene.timestamps(frames)).looped(self.fade)


@edit_kind("sample")
@dataclass(frozen=True)
class Sample(Edit):
    """Sample a scene into a sequence of frames; of a sequence, keep some frames."""

    frames: int = FRAMES
    """Number of frames, evenly spaced."""

    def check(self) -> None:
        """Refuse to keep nothing."""
        if self.frames < 1:
            raise self.wrong("frames", "at least 1")

    def apply(self, scene: Editable, events: Events) -> Scene:
        """Sample the scene."""
        times = sampled_times(scene, self.frames)
        count = min(self.frames, len(times))
        chosen = [times[round(i * (len(times) - 1) / max(count - 1, 1))] for i in range(count)]
        return to_sequence(scene, chosen)
