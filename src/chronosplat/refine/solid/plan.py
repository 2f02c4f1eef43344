"""How long a solid body takes, measured by its first steps, and what fits into given seconds."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

from chronosplat.events import Deadline, Events, Notice, info, warning
from chronosplat.refine.estimate import estimated
from chronosplat.refine.optimise import Budget
from chronosplat.refine.solid.config import SOLID_BEST, SolidConfig
from chronosplat.refine.solid.flow import Flow
from chronosplat.refine.solid.follow import Follower, Track
from chronosplat.refine.solid.frames import Frames
from chronosplat.refine.solid.motion import Body
from chronosplat.refine.solid.polish import Model, Polisher

PROBED = 2  # steps of each kind; the faster one counts
RETRIED = 1.3  # times the first frames' seconds without swings a frame takes on average: it may be tried again, and limbs may swing
RENDERED = 12  # frames that are rendered in the time of a step with residuals
SURFACED = 10  # such steps in the time of surfacing a larger body
TRACKED = 0.5  # of the time at most for tracking
SHORT = 0.5  # of the usual time, below which a budget is too short


@dataclass(frozen=True)
class Speeds:
    """Seconds at the tracked size: of tracking all frames that are left, of a step without and with residuals."""

    track: float
    joint: float
    residual: float


class Clock:
    """The time that is left of a budget of seconds; None: there is none."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds, self.began = seconds, time.perf_counter()

    def spent(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self.began

    def left(self, reserve: float = 0.0) -> float | None:
        """Seconds until the end, less a reserve."""
        return None if self.seconds is None else max(self.seconds - self.spent() - reserve, 1e-3)


@dataclass(frozen=True)
class Plan:
    """What is done.

    Attributes:
        levels: sizes of the images that are fitted, over the tracked one: 1, and others about twice as large each.
        counts: steps without residuals, then with residuals at each level.
        tracking: seconds that remain for tracking, and parts: for these steps, if none are cut.
        rest: seconds of all else.
        share: the fraction of all this that the budget allows, at most 1.
    """

    levels: tuple[float, ...]
    counts: tuple[int, ...]
    tracking: float
    parts: tuple[float, ...]
    rest: float
    share: float = 1.0

    @property
    def seconds(self) -> float:
        """In all."""
        return self.tracking + sum(self.parts) + self.rest

    def at_level(self, level: int, frames: Frames, small: Frames) -> Frames:
        """Frames of a level's size.

        Args:
            frames: the largest ones. small: the tracked ones.
        """
        size = max(small.alphas.shape[1:])
        return frames.at_most(round(self.levels[level] * size)) if level else small

    def notices(self, frames: Frames, whole: tuple[int, int], config: SolidConfig, budget: float | None) -> list[Notice]:
        """The size, the estimate, and whether a budget of seconds is too short.

        Args:
            frames: of the size that is fitted. whole: width and height as they were given.
        """
        height, width = frames.alphas.shape[1:]
        found = []
        if max(whole) > max(width, height):
            text = f"the body is fitted to images of {width}x{height}, reduced from {whole[0]}x{whole[1]}"
            larger = budget is None and config.fit_size < SOLID_BEST.fit_size
            found.append(info("solid-size", text, "{refine} takes larger ones" if larger else "", refine="best"))
        seconds = self.seconds if budget is None else min(self.seconds, budget)
        steps = max(1, round(self.share * sum(self.counts)))
        found.append(estimated(len(frames), (height, width), steps, seconds))
        if budget is not None and self.share < SHORT:
            text = f"{budget:g} s are too short for {len(frames)} images: about {100 * self.share:.0f} percent of the usual steps fit in"
            found.append(warning("time-short", text, "give {refine}", refine=round(self.seconds) + 1))
        return found

    def track(self, follower: Follower, clock: Clock, events: Events) -> Track:
        """Track, in at most about TRACKED of the time; frames that are not reached then keep the last pose on their side."""
        left = clock.left()
        if left is None:
            return follower.run(events)
        fits = min(1.0, TRACKED * left / max(self.tracking, 1e-6))
        follower.rounds, follower.steps = (math.ceil(fits * count) for count in (follower.rounds, follower.steps))
        track = follower.run(replace(events, cancel=Deadline(events.cancel, (1 + TRACKED) / 2 * left)))
        if track.broken == "interrupted" and not events.cancel.requested:
            track.broken = ""
        return track

    def budget(self, part: int, clock: Clock) -> Budget:
        """The length of a part: the steps without residuals are the first one, those at the levels follow."""
        left, following = clock.left(self.rest), sum(self.parts[part:])
        return Budget(self.counts[part], None if left is None else max(left * self.parts[part] / max(following, 1e-6), 1e-3))


def measure(follower: Follower, frames: Frames, body: Body, seed: int, flow: Flow | None, events: Events) -> Speeds:
    """Measure speeds by tracking the frames next to the rest frame, which is not done again, and by steps that are not kept."""
    count, track = len(frames), 0.0
    if count > 1:
        began = time.perf_counter()
        follower.advance(events)
        done = sum(error > 0 for error in follower.track.errors) or 1
        track = RETRIED * (time.perf_counter() - began - follower.swinging) * (count - 1 - done) / done
    start = Model.of(body, follower.track.pose)
    joint, residual = (_seconds_of_a_step(Polisher(start, frames, residuals, seed, flow)) for residuals in (False, True))
    return Speeds(track, joint, residual)


def make_plan(speeds: Speeds, config: SolidConfig, frames: int, enlarged: float, left: float | None) -> Plan:
    """Plan a fit of so many frames; with ``left`` seconds, without the largest images until most of the usual steps fit in.

    Args:
        enlarged: the largest images' size over the tracked one's, at least 1.
    """
    above = math.ceil(math.log2(enlarged) - 1e-6)
    levels = [enlarged ** (i / max(above, 1)) for i in range(above + 1)]
    joint, residuals = config.step_counts(frames)

    def plan(levels: list[float]) -> Plan:
        steps = [-(-residuals // 2**i) for i in range(len(levels))]
        costs = [speeds.residual * level**2 for level in levels]
        rest = frames / RENDERED * costs[-1] + SURFACED * sum(costs[1:])
        parts = joint * speeds.joint, *(count * cost for count, cost in zip(steps, costs, strict=True))
        return Plan(tuple(levels), (joint, *steps), speeds.track, parts, rest)

    found = plan(levels)
    if left is None:
        return found
    while len(levels) > 1 and SHORT * found.seconds > left:
        levels = levels[:-1]
        found = plan(levels)
    return replace(found, share=min(1.0, left / found.seconds))


def _seconds_of_a_step(polisher: Polisher) -> float:
    times = []
    for _ in range(PROBED):
        began = time.perf_counter()
        polisher.step(0.0)
        times.append(time.perf_counter() - began)
    return min(times)
