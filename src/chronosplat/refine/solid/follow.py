"""Tracking: the body of the rest frame is moved to one frame after the other, outward in both directions."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from chronosplat.events import Events
from chronosplat.refine.solid.descent import Descent
from chronosplat.refine.solid.frames import Frames
from chronosplat.refine.solid.limbs import find_limbs, swings
from chronosplat.refine.solid.motion import Body, Pose, bending, deform, leaving_plane
from chronosplat.refine.solid.register import SAMPLES, Colored, describe, mismatches, register

MOMENTUM = 0.7  # of the last step, with which the next pose is predicted
STIFFNESS = (30.0, 3.0)  # pairs per node
LOST = 1.3  # times the median error, above which a frame is tried again
POOR = 0.08  # cost of a pair after registration, from which on swings of limbs are tried
TRIED, CHOSEN, SWINGS = 240, 3, 2  # points that rate a swing, swings that are registered, and limbs that may swing
GAIN = 0.01  # of the cost by a swing
FUTILE = 3  # frames in a row that no swing explains better, after which no more are tried
RIGIDITY = 0.04
SHIFT_LR, TURN_LR = 0.35, 0.02  # pixels, radians
BETAS = (0.8, 0.95)
COARSE, FINE = (0.5, 1.0, 1.0, 1.0, 0.5), (1.0, 1.0, 0.5)  # weights of images at 1, 2, 4, 8, 16 pixels
SIZE, OPACITY = 0.6, 0.95  # of splats while tracking: standard deviation in pixels


@dataclass
class Track:
    """Poses at all M frames, the mean squared error of each frame's rendering, and why tracking stopped early ("" if it did not)."""

    pose: Pose
    errors: list[float]
    broken: str = ""


class Follower:
    """Tracks a body through frames.

    Args:
        rest: the frame that the body was built from.
        rounds: of registration, and steps: of gradient descent through the renderer, per frame.
    """

    def __init__(self, frames: Frames, body: Body, rest: int, rounds: int, steps: int, seed: int = 0) -> None:
        self.frames, self.body, self.rest, self.rounds, self.steps = frames, body, rest, rounds, steps
        still = torch.zeros(len(frames), *body.nodes.shape)
        self.track, self.reached, self.reach = Track(Pose(still, still.clone()), [0.0] * len(frames)), 0, max(rest, len(frames) - 1 - rest)
        self.swinging = 0.0  # seconds that limbs took
        self.generator = torch.Generator().manual_seed(seed)
        self.visible = body.visible.nonzero()[:, 0]
        self.limbs, self.futile = find_limbs(body), 0
        front = body.in_front
        self.paired = front[torch.randperm(len(front), generator=self.generator)[:SAMPLES]]
        x, y = body.pixels[body.columns[self.paired]].unbind(1)
        self.features = describe(frames.images[rest], frames.alphas[rest])[y, x]

    @torch.inference_mode(False)
    @torch.enable_grad()
    def run(self, events: Events) -> Track:
        """Track outward from the rest frame; frames that are not reached get the last pose on their side."""
        track = self.track
        while self.reached < self.reach and not track.broken:
            if events.cancel.requested and self.reached:
                track.broken = "interrupted"
            else:
                self.advance(events)
        if track.broken:
            self._carry(track.pose, self.reached)
        else:
            track.broken = self._mend(track, events)
        return track

    @torch.inference_mode(False)
    @torch.enable_grad()
    def advance(self, events: Events) -> None:
        """Track the frames on both sides that are one farther from the rest frame."""
        count, track, j = len(self.frames), self.track, self.reached + 1
        which = [(self.rest + side * j, side) for side in (1, -1) if 0 <= self.rest + side * j < count]
        tracked = range(max(self.rest - j + 1, 0), min(self.rest + j, count))
        starts = [[self._predicted(track.pose, i, side, j), track.pose[[self._alike(i, tracked)]]] for i, side in which]
        track.broken = self._fit(track, starts, [i for i, _ in which])
        self.reached += not track.broken
        events.progress("track", self.reached, self.reach)

    def _fit(self, track: Track, starts: list[list[Pose]], indices: list[int]) -> str:
        """Fit frames from the best of their starts; poses that are not better than a frame's former one are dropped.

        Returns:
            Why it stopped early ("" if it did not): then the poses are as before.
        """
        pose, errors, broken = self._descend([self._registered(some, i) for some, i in zip(starts, indices, strict=True)], indices)
        if broken:
            return broken
        for k, (i, error) in enumerate(zip(indices, errors, strict=True)):
            if track.errors[i] == 0 or error < track.errors[i]:
                track.pose.shifts[i], track.pose.turns[i], track.errors[i] = pose.shifts[k], pose.turns[k], error
        return ""

    def _mend(self, track: Track, events: Events) -> str:
        """Try again where the track was lost, from the frames on both sides, which may have found it since.

        Returns:
            Why it stopped early; "" if it did not.
        """
        count = len(self.frames)
        if count < 3:
            return ""
        typical = sorted(track.errors)[count // 2]
        for i in sorted(range(count), key=lambda i: -track.errors[i]):
            if track.errors[i] > LOST * typical:
                others = [k for k in (i - 1, i + 1, self._alike(i, [k for k in range(count) if abs(k - i) > 1])) if 0 <= k < count]
                if broken := self._fit(track, [[track.pose[[k]] for k in others]], [i]):
                    return broken
                if events.cancel.requested:
                    return "interrupted"
        return ""

    def _alike(self, index: int, among: Sequence[int]) -> int:
        """The frame that looks most like another: motion often returns."""
        gaps = [(self.frames.on_white[k] - self.frames.on_white[index]).square().mean() for k in among]
        return among[int(torch.stack(gaps).argmin())]

    def _carry(self, pose: Pose, reach: int) -> None:
        """Give the frames farther than ``reach`` from the rest frame the last pose on their side."""
        for i in range(len(pose.shifts)):
            last = min(max(i, self.rest - reach), self.rest + reach)
            pose.shifts[i], pose.turns[i] = pose.shifts[last], pose.turns[last]

    @staticmethod
    def _predicted(pose: Pose, index: int, side: int, distance: int) -> Pose:
        last = pose[[index - side]]
        if distance == 1:
            return last
        before = pose[[index - 2 * side]]
        return Pose(*(a + MOMENTUM * (a - b) for a, b in ((last.shifts, before.shifts), (last.turns, before.turns))))

    def _registered(self, starts: list[Pose], index: int) -> Pose:
        """The start that registration brings nearest to a frame."""
        if self.rounds == 0:
            return starts[0]
        frames = self.frames
        pixels = frames.masks[index].nonzero()
        pixels = pixels[torch.randperm(len(pixels), generator=self.generator)[:SAMPLES]]
        described = describe(frames.images[index], frames.alphas[index])
        target = Colored(frames.plane(pixels.flip(1) + 0.5), described[pixels[:, 0], pixels[:, 1]])
        pose, cost = self._nearest(starts, target)
        if cost > POOR and self.limbs and self.futile < FUTILE:
            began = time.perf_counter()
            pose = self._swung(starts, pose, cost, target)
            self.swinging += time.perf_counter() - began
        return pose

    def _nearest(self, starts: list[Pose], target: Colored) -> tuple[Pose, float]:
        focal, rounds = self.frames.focal, self.rounds
        found = [register(self.body, self.paired, self.features, focal, target, pose, rounds, STIFFNESS) for pose in starts]
        return min(found, key=lambda pair: pair[1])

    def _swung(self, starts: list[Pose], pose: Pose, cost: float, target: Colored) -> Pose:
        """Swing limbs of a registered pose and of its starts, where that explains a frame clearly better."""
        some = slice(None, None, SAMPLES // TRIED)
        sample = (self.paired[some], self.features[some], self.frames.focal, Colored(target.at[some], target.features[some]))
        self.futile += 1
        for _ in range(SWINGS):
            turned = [swings(self.body, start, self.limbs) for start in (pose, *starts)]
            tried = Pose(torch.cat([p.shifts for p in turned]), torch.cat([p.turns for p in turned]))
            best = mismatches(self.body, *sample, tried).topk(min(CHOSEN, len(tried.shifts)), largest=False).indices
            other, less = self._nearest([tried[[k]] for k in best.tolist()], target)
            if less > cost - GAIN:
                break
            pose, cost, starts, self.futile = other, less, [], 0
        return pose

    def _descend(self, starts: list[Pose], indices: list[int]) -> tuple[Pose, list[float], str]:
        """Poses of frames by gradient descent, their errors, and why it stopped early ("" if it did not)."""
        frames, body, visible = self.frames, self.body, self.visible
        targets = torch.cat([frames.on_white[indices], frames.alphas[indices][..., None]], -1)
        pose = Pose(*(torch.cat([getattr(p, name) for p in starts]).requires_grad_() for name in ("shifts", "turns")))
        descent = Descent({"shifts": pose.shifts, "turns": pose.turns}, {"shifts": SHIFT_LR, "turns": TURN_LR}, BETAS)
        colors = body.colors[visible]
        scales, opacities = torch.full((len(colors),), SIZE), torch.full((len(colors),), OPACITY)
        for k in range(self.steps):
            rgb, alpha = frames.render(deform(body, pose, visible), scales, opacities, colors)
            loss = pyramid_loss(torch.cat([rgb, alpha[..., None]], -1), targets, COARSE if k < self.steps // 2 else FINE)
            loss = loss + RIGIDITY * bending(body, pose) + leaving_plane(body, pose)
            if broken := descent.step(loss, 1 - 0.8 * k / self.steps):
                return pose, [], broken
        with torch.no_grad():
            rgb, _ = frames.render(deform(body, pose, visible), scales, opacities, colors)
        errors = (rgb - targets[..., :3]).square().mean((1, 2, 3)).tolist()
        return Pose(pose.shifts.detach(), pose.turns.detach()), errors, ""


def pyramid_loss(image: Tensor, target: Tensor, weights: tuple[float, ...]) -> Tensor:
    """Squared and a little absolute error of images [V, H, W, C] at halving resolutions, with a weight for each."""
    x, y = image.permute(0, 3, 1, 2), target.permute(0, 3, 1, 2)
    total = image.new_zeros(())
    for level, weight in enumerate(weights):
        if level:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        total = total + weight * ((x - y).square().mean() + 0.05 * (x - y).abs().mean())
    return total
