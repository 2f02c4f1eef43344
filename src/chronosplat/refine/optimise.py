"""One optimisation: batches of views, Adam with a step size for each field, and marks at which the state is looked at."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chronosplat.losses import mse
from chronosplat.refine.config import RefineConfig
from chronosplat.refine.neighbours import Neighbours
from chronosplat.refine.parameters import Fields, bounded, freed
from chronosplat.refine.pictures import Pictures, show
from chronosplat.refine.poses import Corrections

BETAS = (0.9, 0.99)


@dataclass(frozen=True)
class Budget:
    """How long: so many steps, so many seconds, or whichever comes first."""

    steps: int | None = None
    seconds: float | None = None

    def share(self, part: float) -> Budget:
        """A part of it, of at least one step."""
        steps = None if self.steps is None else max(1, round(self.steps * part))
        return Budget(steps, None if self.seconds is None else self.seconds * part)

    def spent(self, steps: int, seconds: float) -> float:
        """Which share of it is gone."""
        by_steps = 0.0 if self.steps is None else steps / self.steps
        return max(by_steps, 0.0 if self.seconds is None else seconds / self.seconds)


@dataclass
class Outcome:
    """Where an optimisation ended.

    Attributes:
        fields: the Gaussians' fields, at the end or when it broke off. steps: taken.
        broken: why it broke off ("" if it did not): the loss became NaN, or the user asked.
        corrections: of cameras and exposures, as far as they were asked for.
    """

    fields: Fields
    steps: int
    broken: str
    corrections: Corrections


Look = Callable[[float, Mapping[str, Tensor]], None]


@torch.enable_grad()  # also where the caller asks for no gradients
def optimise(
    start: Mapping[str, Tensor],
    pictures: Pictures,
    train: Sequence[int],
    config: RefineConfig,
    budget: Budget,
    sizes: Mapping[str, float],
    freely: bool = True,
    marks: Sequence[float] = (),
    look: Look = lambda _share, _fields: None,
) -> Outcome:
    """Optimise fields against the pictures ``train``.

    Args:
        start: fields of the scene at the start, bounded.
        sizes: step size of each field, which falls to ``config.final`` of it; 0 leaves the field alone.
        freely: many pictures move each Gaussian; leave some out at random, and let neighbours move alike.
        marks: shares at which ``look`` is called with the fields (time spent there is not counted).

    Returns:
        The outcome. A loss or a gradient that is not finite ends it at the last state that was.
    """
    free = freed({name: t for name, t in start.items() if sizes[name] > 0})
    fixed = {name: t.detach().float() for name, t in start.items() if name not in free}
    corrections = Corrections(len(pictures), config, pictures.rgb.device)
    groups = [{"params": [t], "size": sizes[name]} for name, t in free.items() if t.requires_grad] + corrections.groups()
    if not groups:
        return Outcome(fixed, 0, "", corrections)
    adam = torch.optim.Adam(groups, lr=0.0, betas=BETAS, eps=1e-15, fused=True)
    draws = torch.Generator().manual_seed(config.seed)
    alike = freely and config.alike > 0 and "velocities" in free and len(free["velocities"]) > 1
    neighbours = Neighbours(torch.Generator().manual_seed(config.seed)) if alike else None
    queue: list[int] = []
    waiting = sorted(marks)
    began, looking, steps = time.perf_counter(), 0.0, 0
    outcome = Outcome({}, 0, "", corrections)
    try:
        while True:
            share = budget.spent(steps, time.perf_counter() - began - looking)
            while waiting and share >= waiting[0] - 1e-9:
                paused = time.perf_counter()
                look(waiting.pop(0), _still(fixed, free))
                looking += time.perf_counter() - paused
            if share >= 1 - 1e-9:
                break
            while len(queue) < min(config.batch, len(train)):
                queue += [train[i] for i in torch.randperm(len(train), generator=draws).tolist()]
            chosen, queue = queue[: config.batch], queue[config.batch :]
            fields = fixed | bounded(free)
            loss = _loss(fields, pictures, chosen, config, corrections, draws if freely else None)
            if neighbours is not None:
                loss = loss + config.alike * neighbours.unlike(fields)
            if not bool(torch.isfinite(loss)):
                outcome.broken = "the loss is not a number any more"
                break
            adam.zero_grad()
            loss.backward()
            if not all_finite(t for group in adam.param_groups for t in group["params"]):
                outcome.broken = "a gradient is not a number any more"
                break
            for group in adam.param_groups:
                group["lr"] = group["size"] * config.final**share
            adam.step()
            _bound(free, config)
            steps += 1
    except KeyboardInterrupt:
        outcome.broken = "interrupted"
    outcome.fields, outcome.steps = _still(fixed, free), steps
    return outcome


def _still(fixed: Fields, free: Mapping[str, Tensor]) -> Fields:
    with torch.no_grad():
        return fixed | {name: t.clone() for name, t in bounded(free).items()}


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether all gradients that tensors have are finite."""
    return bool(torch.stack([t.grad.isfinite().all() for t in tensors if t.grad is not None]).all())


def _loss(
    fields: Fields,
    pictures: Pictures,
    chosen: list[int],
    config: RefineConfig,
    corrections: Corrections,
    draws: torch.Generator | None,
) -> Tensor:
    if draws is not None and config.drop > 0:  # DropGaussian (Park et al., CVPR 2025): the others make up for those left out
        kept = (torch.rand(len(fields["means"]), generator=draws) >= config.drop).nonzero()[:, 0].to(fields["means"].device)
        fields = {name: t.index_select(0, kept) for name, t in fields.items()}
        fields["opacities"] = (fields["opacities"] / (1 - config.drop)).clamp(max=0.999)
    rgb, alpha = show(fields, pictures, chosen, config.backend, viewmats=corrections.poses(pictures.viewmats))
    loss = unlike(corrections.exposed(rgb, chosen), alpha, pictures, chosen, config)
    if config.binary > 0 and fields["opacities"].requires_grad:
        loss = loss + config.binary * (fields["opacities"] * (1 - fields["opacities"])).mean()
    return loss


def unlike(rgb: Tensor, alpha: Tensor, pictures: Pictures, chosen: list[int], config: RefineConfig) -> Tensor:
    """The loss of what was drawn, [V, H, W, 3] and [V, H, W, 1], against pictures: of colours, and of masks where there are any."""
    wanted = pictures.rgb[chosen]
    loss = mse(rgb, wanted) + config.absolute * (rgb - wanted).abs().mean()
    return loss + config.alpha * mse(alpha, pictures.alpha[chosen]) if pictures.masked else loss


def _bound(free: Fields, config: RefineConfig) -> None:
    """No colours brighter than a scene may have, and no needles: seen from its side, a Gaussian has an area."""
    with torch.no_grad():
        if "colors" in free:
            free["colors"].clamp_(0, 1)
        if "scales" in free:
            longest = free["scales"].amax(-1, keepdim=True)
            free["scales"].copy_(torch.maximum(free["scales"], longest - math.log(config.needle)))
