"""Tracking: the body of the rest frame is moved to one frame after the other, outward in both directions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from chronosplat.events import Events
from chronosplat.refine.solid.frames import Frames
from chronosplat.refine.solid.motion import Body, Pose, bending, deform, leaving_plane
from chronosplat.refine.solid.register import SAMPLES, Colored, describe, register

MOMENTUM = 0.7  # of the last step, with which the next pose is predicted
STIFFNESS = (30.0, 3.0)  # pairs per node
RIGIDITY = 0.04
SHIFT_LR, TURN_LR = 0.35, 0.02  # pixels, radians
COARSE, FINE = (0.5, 1.0, 1.0, 1.0, 0.5), (1.0, 1.0, 0.5)  # weights of images at 1, 2, 4, 8, 16 pixels
SIZE, OPACITY = 0.6, 0.95  # of splats while tracking: standard deviation in pixels


@dataclass
class Track:
    """Poses at all M frames, and the mean squared error of each frame's rendering."""

    pose: Pose
    errors: list[float]


class Follower:
    """Tracks a body through frames.

    Args:
        rest: the frame that the body was built from.
        rounds: of registration, and steps: of gradient descent through the renderer, per frame.
    """

    def __init__(self, frames: Frames, body: Body, rest: int, rounds: int, steps: int, seed: int = 0) -> None:
        self.frames, self.body, self.rest, self.rounds, self.steps = frames, body, rest, rounds, steps
        self.generator = torch.Generator().manual_seed(seed)
        self.visible = body.visible.nonzero()[:, 0]
        front = (body.points[:, 2] <= 0).nonzero()[:, 0]
        self.paired = front[torch.randperm(len(front), generator=self.generator)[:SAMPLES]]
        x, y = body.pixels[body.columns[self.paired]].unbind(1)
        self.features = describe(frames.images[rest], frames.alphas[rest])[y, x]

    @torch.inference_mode(False)
    @torch.enable_grad()
    def run(self, events: Events) -> Track:
        """Track outward from the rest frame."""
        count = len(self.frames)
        still = torch.zeros(count, *self.body.nodes.shape)
        track = Track(Pose(still, still.clone()), [0.0] * count)
        for j in range(1, max(self.rest, count - 1 - self.rest) + 1):
            which = [(self.rest + side * j, side) for side in (1, -1) if 0 <= self.rest + side * j < count]
            indices = [i for i, _ in which]
            starts = [self._predicted(track.pose, i, side, j) for i, side in which]
            poses = [self._registered(start, i) for start, i in zip(starts, indices, strict=True)]
            pose = Pose(torch.cat([p.shifts for p in poses]), torch.cat([p.turns for p in poses]))
            pose, errors = self._descend(pose, indices)
            track.pose.shifts[indices], track.pose.turns[indices] = pose.shifts, pose.turns
            for i, error in zip(indices, errors, strict=True):
                track.errors[i] = error
            events.progress("track", j, max(self.rest, count - 1 - self.rest))
            if events.cancel.requested:
                self._carry(track.pose, j)
                break
        return track

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

    def _registered(self, start: Pose, index: int) -> Pose:
        if self.rounds == 0:
            return start
        frames = self.frames
        pixels = frames.masks[index].nonzero()
        pixels = pixels[torch.randperm(len(pixels), generator=self.generator)[:SAMPLES]]
        described = describe(frames.images[index], frames.alphas[index])
        target = Colored(frames.plane(pixels.flip(1) + 0.5), described[pixels[:, 0], pixels[:, 1]])
        return register(self.body, self.paired, self.features, frames.focal, target, start, self.rounds, STIFFNESS)[0]

    def _descend(self, start: Pose, indices: list[int]) -> tuple[Pose, list[float]]:
        frames, body, visible = self.frames, self.body, self.visible
        targets = torch.cat([frames.on_white[indices], frames.alphas[indices][..., None]], -1)
        pose = Pose(start.shifts.clone().requires_grad_(), start.turns.clone().requires_grad_())
        groups = [{"params": [pose.shifts], "base": SHIFT_LR}, {"params": [pose.turns], "base": TURN_LR}]
        adam = torch.optim.Adam(groups, lr=0.0, betas=(0.8, 0.95), eps=1e-12, fused=True)
        colors = body.colors[visible]
        scales, opacities = torch.full((len(colors),), SIZE), torch.full((len(colors),), OPACITY)
        for k in range(self.steps):
            rgb, alpha = frames.render(deform(body, pose, visible), scales, opacities, colors)
            loss = pyramid_loss(torch.cat([rgb, alpha[..., None]], -1), targets, COARSE if k < self.steps // 2 else FINE)
            loss = loss + RIGIDITY * bending(body, pose) + leaving_plane(body, pose)
            adam.zero_grad()
            loss.backward()
            for group in adam.param_groups:
                group["lr"] = group["base"] * (1 - 0.8 * k / self.steps)
            adam.step()
        with torch.no_grad():
            rgb, _ = frames.render(deform(body, pose, visible), scales, opacities, colors)
        errors = (rgb - targets[..., :3]).square().mean((1, 2, 3)).tolist()
        return Pose(pose.shifts.detach(), pose.turns.detach()), errors


def pyramid_loss(image: Tensor, target: Tensor, weights: tuple[float, ...]) -> Tensor:
    """Squared and a little absolute error of images [V, H, W, C] at halving resolutions, with a weight for each."""
    x, y = image.permute(0, 3, 1, 2), target.permute(0, 3, 1, 2)
    total = image.new_zeros(())
    for level, weight in enumerate(weights):
        if level:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        total = total + weight * ((x - y).square().mean() + 0.05 * (x - y).abs().mean())
    return total
