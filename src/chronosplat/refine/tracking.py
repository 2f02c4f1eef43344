"""A start for a body's motion, by rendering: poses are tracked from the rest time outward, from one timestamp to the next.

Registration (register.py) compares hulls, and a hull holds more than the body: legs that hide each other cast further legs.
Images do not, but the gradient of a rendering sees no farther than a part is wide. So each timestamp begins at the neighbour's
pose, carried on evenly, or at the registered one, whichever comes closer in its first steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from chronosplat.events import Events
from chronosplat.refine.body import BodyStart
from chronosplat.refine.config import RefineConfig
from chronosplat.refine.crop import Crop
from chronosplat.refine.fused_adam import FusedAdam
from chronosplat.refine.motion import Motion
from chronosplat.refine.optimise import targets
from chronosplat.refine.parameters import Fields
from chronosplat.refine.training_views import AT_ONCE, TrainingViews
from chronosplat.render import RasterInputs
from chronosplat.render.image_loss import render_loss
from chronosplat.render.skinning import skin

RESTING = 120  # steps that give the body its shape and colours at rest
STEPS, TRIAL = 20, 8  # of a timestamp, and those of them after which its beginnings are compared
LRS = {"shift": 6e-3, "turn": 2.4e-2}
FLOOR = 0.3  # last learning rate as a fraction of the first one
CARRY = 0.8  # of the last timestamp's motion
VISIBLE = 0.05  # opacity of Gaussians that are tracked

Pose = tuple[Tensor, Tensor]  # shifts and rotation vectors [K, 3] of the nodes


def tracked_poses(start: BodyStart, views: TrainingViews, config: RefineConfig, events: Events) -> tuple[Tensor, Tensor]:
    """Shifts and rotation vectors [M, K, 3] of the nodes at the M timestamps.

    Args:
        start: its poses compete with those that are carried on; views show the body at its rest time.
        views: in the scene's world; small images suffice. events: a cancellation leaves the other timestamps as they are.
    """
    stamps, which = torch.unique(views.seconds, return_inverse=True)
    shown = views.pixels[..., 3].amax((1, 2)) >= 128
    seen = [((which == k) & shown).nonzero()[:, 0].tolist() for k in range(len(stamps))]
    rest = int((stamps - start.rest).abs().argmin())
    motion = start.motion(stamps, torch.Generator().manual_seed(config.seed))
    with torch.no_grad():
        shifts, turns = (t.clone() for t in motion.at_stamp(torch.arange(len(stamps), device=views.device)))
    if events.cancel.requested:
        return shifts, turns
    fields = body_at_rest(start, views, seen[rest], config)
    rigidity = start.settings.rigidity / max(1.0, len(views) / len(stamps))  # of a whole optimisation in its end
    body = _Body(fields, motion.skinning(fields["means"]), motion, rigidity, views, Crop.around(views.pixels), config)
    for side in (1, -1):
        last, before = (shifts[rest], turns[rest]), None
        for k in range(rest + side, len(stamps) if side > 0 else -1, side):
            if events.cancel.requested:
                return shifts, turns
            if not seen[k]:
                continue
            carried = last if before is None else (last[0] + CARRY * (last[0] - before[0]), last[1] + CARRY * (last[1] - before[1]))
            found = body.track(seen[k], [carried, (shifts[k], turns[k])])
            (shifts[k], turns[k]), before, last = found, last, found
            events.progress("tracking", k - rest if side > 0 else len(stamps) - 1 - k, len(stamps) - 1)
    return shifts, turns


def body_at_rest(start: BodyStart, views: TrainingViews, chosen: list[int], config: RefineConfig) -> Fields:
    """The canonical Gaussians after some steps against the views of the rest time alone; transparent ones are left out."""
    some = replace(views, pixels=views.pixels[chosen], viewmats=views.viewmats[chosen], Ks=views.Ks[chosen], seconds=views.seconds[chosen])
    stepper = replace(start, poses=None).begin(some, config)
    queue: list[int] = []
    for _ in range(RESTING):
        stepper.step(stepper.draw(range(len(some)), queue, 0.0), 0.0)
    fields = {name: t.detach() for name, t in stepper.fields.items()}
    visible = fields["opacities"] > VISIBLE
    return {name: t[visible] for name, t in fields.items()}


@dataclass
class _Attempt:
    """A pose that is being fitted.

    Attributes:
        adam: over its shifts and rotation vectors [1, K, 3]. steps: taken.
    """

    adam: FusedAdam
    steps: int = 0

    @property
    def pose(self) -> Pose:
        return self.adam.values["shift"].detach()[0], self.adam.values["turn"].detach()[0]


@dataclass(frozen=True)
class _Body:
    """Gaussians at rest, and the views that their poses are fitted to, one timestamp at a time.

    Attributes:
        skinning: see Motion.skinning. rigidity: weight of the bending.
    """

    fields: Fields
    skinning: tuple[Tensor, Tensor]
    motion: Motion
    rigidity: float
    views: TrainingViews
    crop: Crop
    config: RefineConfig

    def track(self, chosen: list[int], beginnings: Sequence[Pose]) -> Pose:
        """The pose that matches the chosen views, from the beginning that is closest after some steps."""
        attempts = [_Attempt(FusedAdam({"shift": shifts[None], "turn": turns[None]}, LRS)) for shifts, turns in beginnings]
        for attempt in attempts:
            self.advance(attempt, chosen, TRIAL)
        some = chosen[:: math.ceil(len(chosen) / AT_ONCE)]
        with torch.no_grad():
            best = min(attempts, key=lambda attempt: float(self.loss(attempt, some, 0)))
        self.advance(best, chosen, STEPS - TRIAL)
        return best.pose

    def advance(self, attempt: _Attempt, chosen: list[int], steps: int) -> None:
        """Take some steps, each against the next few of the chosen views."""
        for _ in range(steps):
            first = attempt.steps * self.config.batch
            some = [chosen[(first + j) % len(chosen)] for j in range(min(self.config.batch, len(chosen)))]
            self.loss(attempt, some, attempt.steps).backward()
            attempt.adam.step(FLOOR ** (attempt.steps / STEPS))
            attempt.steps += 1

    def loss(self, attempt: _Attempt, chosen: list[int], step: int) -> Tensor:
        """The loss of the body in a pose against some views, and of its bending."""
        shifts, turns = attempt.adam.values["shift"], attempt.adam.values["turn"]
        fields, views = self.fields, self.views
        means, quats = skin(fields["means"], fields["quats"], *self.skinning, self.motion.nodes, shifts, turns)
        height, width = views.size
        x = RasterInputs(
            means=means,
            quats=quats,
            scales=fields["scales"][None],
            opacities=fields["opacities"][None],
            colors=fields["colors"][None],
            viewmats=views.viewmats[chosen][None],
            Ks=views.Ks[chosen][None],
            width=width,
            height=height,
        )
        window = self.crop.at(chosen, step)
        images = render_loss(*window.apply(x, targets(views, chosen, self.config)), self.config.backend)
        return images + self.rigidity * self.motion.bending(shifts, turns)
