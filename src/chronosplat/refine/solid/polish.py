"""All frames together: motion, the body's colours and sizes, then what no rigid motion explains, per pixel column and frame."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from chronosplat.events import Events
from chronosplat.refine.optimise import Budget
from chronosplat.refine.solid.body import enlarge
from chronosplat.refine.solid.config import BATCH
from chronosplat.refine.solid.descent import Descent
from chronosplat.refine.solid.flow import Flow
from chronosplat.refine.solid.follow import RIGIDITY, pyramid_loss
from chronosplat.refine.solid.frames import Frames
from chronosplat.refine.solid.motion import Body, Pose, acceleration, bending, deform, leaving_plane

STATIC, RESIDUALS = ("colors", "sizes", "opacities"), ("tints", "offsets", "fades")
SIZE, OPACITY = 0.6, 0.95  # of splats at the start: standard deviation in pixels
HIDDEN = 1.2  # times this size where the camera does not see them: no light shines through, seen from elsewhere
BETAS = (0.9, 0.98)
LR_FLOOR = 0.1
LRS = {"shifts": 0.08, "turns": 0.006, "colors": 0.004, "sizes": 0.01, "opacities": 0.02, "tints": 0.05, "offsets": 0.15, "fades": 0.08}
SLOWER = 0.3  # of the motion's learning rates, once residuals take part
SMOOTHNESS = 5e-4  # weight of the nodes' acceleration
FLOW_COST = 0.1  # of points that move otherwise than the optical flow
FLOW_SOFT, FLOW_POINTS = 0.5, 600  # pixels below which that grows squarely, and the number of points that are compared
TINT_COST, OFFSET_COST, FADE_COST, SIZE_COST = 2e-4, 5e-4, 1e-2, 1e-3
TEAR_COST = 5e-3  # of differences between the offsets of neighbouring columns, in square pixels
SPECK_COST = 1e-2  # of differences between their tints
CHANGE_COST = 1e-3  # of differences between the residuals of consecutive frames
SIZES = (-0.1, 0.5)  # bounds of the logarithm of a splat's size relative to the start
THIN = 2.0  # pixels: columns with less half thickness may become translucent
LEAST_OPACITY = 0.3


@dataclass
class Model:
    """A body in motion. P pixel columns, M frames.

    Attributes:
        pose: of all frames. colors [P, 3], sizes [P], opacities [P]: added to the body's colours (in front), the logarithm of
            the size and the logit of the opacity.
        tints [M, P, 3], offsets [M, P, 2], fades [M, P]: residuals; zero, zero and one explain nothing.
    """

    body: Body
    pose: Pose
    colors: Tensor
    sizes: Tensor
    opacities: Tensor
    tints: Tensor
    offsets: Tensor
    fades: Tensor

    @staticmethod
    def of(body: Body, pose: Pose) -> Model:
        """Start without residuals."""
        count, columns = len(pose.shifts), len(body.pixels)
        return Model(
            body,
            pose,
            colors=torch.zeros(columns, 3),
            sizes=torch.zeros(columns),
            opacities=torch.zeros(columns),
            tints=torch.zeros(count, columns, 3),
            offsets=torch.zeros(count, columns, 2),
            fades=torch.ones(count, columns),
        )

    def tensors(self) -> dict[str, Tensor]:
        """What is optimised, by name."""
        return {"shifts": self.pose.shifts, "turns": self.pose.turns} | {name: getattr(self, name) for name in (*STATIC, *RESIDUALS)}

    def with_tensors(self, tensors: dict[str, Tensor]) -> Model:
        """Replace what is optimised."""
        return Model(self.body, Pose(tensors["shifts"], tensors["turns"]), **{name: tensors[name] for name in (*STATIC, *RESIDUALS)})

    def splats(self, which: list[int], chosen: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Means [V, n, 3], scales [n], opacities [V, n] and colours [V, n, 3] of the points ``chosen`` [n] at frames."""
        body = self.body
        columns, front = body.columns[chosen], body.front[chosen][:, None]
        means = deform(body, self.pose[which], chosen)
        offsets = self.offsets[which].index_select(1, columns)
        means = means + torch.nn.functional.pad(offsets, (0, 1))
        tints = self.tints[which].index_select(1, columns) + self.colors.index_select(0, columns)
        colors = body.colors[chosen] + front * tints
        logit = torch.logit(torch.tensor(OPACITY)) + self.opacities
        opacities = torch.sigmoid(logit).index_select(0, columns) * self.fades[which].index_select(1, columns)
        return means, self.scales()[chosen], opacities, colors

    def scales(self) -> Tensor:
        """Standard deviations [N] in pixels."""
        return SIZE * torch.where(self.body.visible, 1.0, HIDDEN) * self.sizes.exp().index_select(0, self.body.columns)

    @torch.no_grad()
    def errors(self, frames: Frames) -> list[float]:
        """Mean squared error of each frame as it was given, on white."""
        found, everything = [], torch.arange(len(self.body.points))
        for i in range(len(frames)):
            means, scales, opacities, colors = self.splats([i], everything)
            rgb, _ = frames.render(means, scales, opacities, colors.clamp(0, 1))
            found.append(float((rgb[0].clamp(0, 1) - frames.given[i]).square().mean()))
        return found


def enlarged(model: Model, frames: Frames, rest: int, factor: float, depth: Tensor | None = None) -> Model:
    """Carry a model over to frames that are ``factor`` times as large; see enlarge."""
    body, nearest = enlarge(model.body, frames, rest, factor, depth)
    pose = Pose(model.pose.shifts * factor, model.pose.turns)
    static = {name: getattr(model, name)[nearest] for name in STATIC}
    return Model(
        body, pose, **static, tints=model.tints[:, nearest], offsets=factor * model.offsets[:, nearest], fades=model.fades[:, nearest]
    )


@dataclass
class Polished:
    """A model that was optimised, the number of steps, and why it stopped early ("" if it did not)."""

    model: Model
    steps: int
    broken: str


class Polisher:
    """The optimisation of a model against all frames, between steps.

    Args:
        residuals: also what no motion of nodes explains.
        flow: of these frames.
    """

    def __init__(self, model: Model, frames: Frames, residuals: bool, seed: int = 0, flow: Flow | None = None) -> None:
        self.frames, self.residuals, self.flow = frames, residuals, flow
        self.free = {name: t.detach().clone() for name, t in model.tensors().items()}
        slow = {"shifts": SLOWER, "turns": SLOWER} if residuals else {}
        lrs = {name: lr * slow.get(name, 1.0) for name, lr in LRS.items() if residuals or name not in RESIDUALS}
        for name in lrs:
            self.free[name].requires_grad_()
        self.descent = Descent(self.free, lrs, BETAS)
        self.generator = torch.Generator().manual_seed(seed)
        self.now = model.with_tensors(self.free)
        body = model.body
        self.shown = torch.arange(len(body.points)) if residuals else body.visible.nonzero()[:, 0]
        self.pairs, self.thin, self.front = neighbours(body.pixels), body.heights < THIN, body.in_front
        self.queue: list[int] = []

    @property
    def model(self) -> Model:
        """The state."""
        return self.now.with_tensors({name: t.detach() for name, t in self.free.items()})

    def step(self, share: float) -> str:
        """Take a step, ``share`` of the budget being spent; return why none was taken ("" if it was)."""
        if broken := self.descent.step(self._loss(self._draw()), LR_FLOOR**share):
            return broken
        _bound(self.free, self.thin)
        return ""

    def _draw(self) -> list[int]:
        count = len(self.frames)
        while len(self.queue) < min(BATCH, count):
            self.queue += torch.randperm(count, generator=self.generator).tolist()
        which, self.queue = self.queue[:BATCH], self.queue[BATCH:]
        return which

    def _loss(self, which: list[int]) -> Tensor:
        now, frames, body = self.now, self.frames, self.now.body
        rgb, alpha = frames.render(*now.splats(which, self.shown))
        image, target = separated(rgb, alpha, frames.images[which], frames.alphas[which])
        loss = pyramid_loss(image, target, (1.0,) if self.residuals else (1.0, 0.5))
        pose = now.pose[which]
        loss = loss + RIGIDITY * bending(body, pose) + leaving_plane(body, pose) + SMOOTHNESS * acceleration(body, now.pose)
        loss = loss + SIZE_COST * now.sizes.square().mean()
        if self.flow is not None:
            some = self.front[torch.randint(len(self.front), (FLOW_POINTS,), generator=self.generator)]
            loss = loss + FLOW_COST * flow_cost(now, frames, self.flow, which, some)
        return loss + residual_cost(now, which, self.pairs) if self.residuals else loss


@torch.inference_mode(False)
@torch.enable_grad()
def polish(polisher: Polisher, budget: Budget, events: Events) -> Polished:
    """Optimise all frames together; a cancellation or what is not finite ends it at the last good state."""
    began, steps = time.perf_counter(), 0
    if budget.steps == 0:
        return Polished(polisher.model, 0, "")
    while (share := budget.spent(steps, time.perf_counter() - began)) < 1:
        if events.cancel.requested:
            return Polished(polisher.model, steps, "interrupted")
        if broken := polisher.step(share):
            return Polished(polisher.model, steps, broken)
        if steps % 20 == 0:
            events.progress("refine", round(100 * share), 100)
        steps += 1
    return Polished(polisher.model, steps, "")


def separated(rgb: Tensor, alpha: Tensor, straight: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """An image [V, H, W, 4] and its target, whose colours are not asked to make up for a wrong outline.

    Compared on white, splats at an outline that is half a pixel wrong turn white. Here colours are compared under the rendered
    coverage, where the object is.

    Args:
        rgb: [V, H, W, 3] rendered on white, and alpha: [V, H, W]. straight: [V, H, W, 3] the frames' colours. wanted: [V, H, W].
    """
    inside = wanted[..., None]
    image = torch.cat([inside * (rgb - 1 + alpha[..., None]), alpha[..., None]], -1)
    return image, torch.cat([inside * alpha.detach()[..., None] * straight, inside], -1)


def residual_cost(model: Model, which: list[int], pairs: Tensor) -> Tensor:
    """Cost of residuals at frames ``which``: their size, tears between neighbouring columns [2, E], and sudden changes."""
    tints, offsets, fades = model.tints[which], model.offsets[which], model.fades[which]
    cost = TINT_COST * tints.square().mean() * len(model.tints) + OFFSET_COST * offsets.square().mean() + FADE_COST * (1 - fades).mean()
    for values, weight in ((offsets, TEAR_COST), (fades[..., None], TEAR_COST), (tints + model.colors, SPECK_COST)):
        tears = values.index_select(1, pairs[0]) - values.index_select(1, pairs[1])
        cost = cost + weight * tears.square().mean()
    before = [max(i - 1, 0) for i in which]
    for values, last in ((tints, model.tints[before]), (offsets, model.offsets[before]), (fades, model.fades[before])):
        cost = cost + CHANGE_COST * (values - last).square().mean()
    return cost


def flow_cost(model: Model, frames: Frames, flow: Flow, which: list[int], chosen: Tensor) -> Tensor:
    """How far the points ``chosen`` move otherwise than the flow, in pixels, from the frames ``which`` to the next."""
    first = [min(i, len(frames) - 2) for i in which]
    before, after = frames.project(deform(model.body, model.pose[first + [i + 1 for i in first]], chosen)).chunk(2)
    move, trust = flow.at(torch.tensor(first), before.detach())
    gap = (after - before - move).square().sum(-1)
    return (trust * ((gap + FLOW_SOFT**2).sqrt() - FLOW_SOFT)).mean()


def neighbours(pixels: Tensor) -> Tensor:
    """Pairs [2, E] of pixels [P, 2] that are next to each other, by their numbers."""
    x, y = (pixels - pixels.amin(0)).unbind(1)
    numbers = torch.full((int(y.max()) + 2, int(x.max()) + 2), -1)
    numbers[y, x] = torch.arange(len(pixels))
    pairs = torch.cat([torch.stack([numbers[y, x], numbers[y + dy, x + dx]]) for dx, dy in ((1, 0), (0, 1))], 1)
    return pairs[:, pairs[1] >= 0]


@torch.no_grad()
def _bound(free: dict[str, Tensor], thin: Tensor) -> None:
    least = torch.logit(torch.tensor(LEAST_OPACITY)) - torch.logit(torch.tensor(OPACITY))
    free["opacities"].copy_(torch.where(thin, free["opacities"].clamp(float(least), 0.5), 0.0))
    free["sizes"].clamp_(*SIZES)
    free["fades"].clamp_(0, 1)
