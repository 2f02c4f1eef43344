"""One optimisation: batches of views, Adam with a learning rate per field, and marks at which the state is evaluated."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chronosplat.events import Cancel
from chronosplat.losses import mse
from chronosplat.refine.config import RefineConfig
from chronosplat.refine.corrections import Corrections
from chronosplat.refine.neighbours import Neighbours
from chronosplat.refine.parameters import Fields, bounded, freed
from chronosplat.refine.training_views import TrainingViews, render_views

BETAS = (0.9, 0.99)


@dataclass(frozen=True)
class Budget:
    """The length of an optimisation: steps, seconds, or whichever ends first."""

    steps: int | None = None
    seconds: float | None = None

    def share(self, part: float) -> Budget:
        """A fraction of it, of at least one step."""
        steps = None if self.steps is None else max(1, round(self.steps * part))
        return Budget(steps, None if self.seconds is None else self.seconds * part)

    def spent(self, steps: int, seconds: float) -> float:
        """The fraction that is spent."""
        by_steps = 0.0 if self.steps is None else steps / self.steps
        return max(by_steps, 0.0 if self.seconds is None else seconds / self.seconds)


@dataclass
class Outcome:
    """The end of an optimisation.

    Attributes:
        fields: the Gaussians' fields, at the end or when it stopped early. steps: taken.
        broken: why it stopped early ("" if it did not): a NaN, or a cancellation.
        corrections: of cameras and exposures.
    """

    fields: Fields
    steps: int
    broken: str
    corrections: Corrections


OnMark = Callable[[float, Mapping[str, Tensor]], None]


@torch.inference_mode(False)
@torch.enable_grad()  # also where the caller has switched gradients off
def optimise(
    start: Mapping[str, Tensor],
    views: TrainingViews,
    train: Sequence[int],
    config: RefineConfig,
    budget: Budget,
    lrs: Mapping[str, float],
    regularise: bool = True,
    marks: Sequence[float] = (),
    on_mark: OnMark = lambda _share, _fields: None,
    cancel: Cancel | None = None,
) -> Outcome:
    """Optimise fields against the views ``train``.

    Args:
        start: fields of the scene at the start, bounded.
        lrs: learning rate of each field, which decays to ``config.lr_floor`` of it; 0 fixes the field.
        regularise: drop Gaussians at random and pull neighbours to the same velocity, for starts of which every field moves.
        marks: fractions of the budget at which ``on_mark`` is called with the fields (its time does not count).
        cancel: ends the optimisation early.

    Returns:
        The outcome. A loss or a gradient that is not finite ends it at the last state that was.
    """
    cancel = Cancel() if cancel is None else cancel
    free = freed({name: t for name, t in start.items() if lrs[name] > 0})
    fixed = {name: t.detach().float() for name, t in start.items() if name not in free}
    corrections = Corrections(len(views), config, views.rgb.device)
    groups = [{"params": [t], "initial_lr": lrs[name]} for name, t in free.items() if t.requires_grad] + corrections.groups()
    if not groups:
        return Outcome(fixed, 0, "", corrections)
    adam = torch.optim.Adam(groups, lr=0.0, betas=BETAS, eps=1e-15, fused=True)
    generator = torch.Generator().manual_seed(config.seed)
    smooth = regularise and config.velocity_weight > 0 and "velocities" in free and len(free["velocities"]) > 1
    neighbours = Neighbours(torch.Generator().manual_seed(config.seed)) if smooth else None
    queue: list[int] = []
    remaining = sorted(marks)
    began, evaluating, steps = time.perf_counter(), 0.0, 0
    outcome = Outcome({}, 0, "", corrections)
    while True:
        share = budget.spent(steps, time.perf_counter() - began - evaluating)
        if cancel.requested:
            outcome.broken = "interrupted"
            break
        while remaining and share >= remaining[0] - 1e-9:
            paused = time.perf_counter()
            on_mark(remaining.pop(0), _detached(fixed, free))
            evaluating += time.perf_counter() - paused
        if share >= 1 - 1e-9:
            break
        while len(queue) < min(config.batch, len(train)):
            queue += [train[i] for i in torch.randperm(len(train), generator=generator).tolist()]
        chosen, queue = queue[: config.batch], queue[config.batch :]
        fields = fixed | bounded(free)
        loss = _loss(fields, views, chosen, config, corrections, generator if regularise else None)
        if neighbours is not None:
            loss = loss + config.velocity_weight * neighbours.velocity_differences(fields)
        if not bool(torch.isfinite(loss)):
            outcome.broken = "the loss became NaN"
            break
        adam.zero_grad()
        loss.backward()
        if not all_finite(t for group in adam.param_groups for t in group["params"]):
            outcome.broken = "a gradient became NaN"
            break
        for group in adam.param_groups:
            group["lr"] = group["initial_lr"] * config.lr_floor**share
        adam.step()
        _bound(free, config)
        steps += 1
    outcome.fields, outcome.steps = _detached(fixed, free), steps
    return outcome


def _detached(fixed: Fields, free: Mapping[str, Tensor]) -> Fields:
    with torch.no_grad():
        return fixed | {name: t.clone() for name, t in bounded(free).items()}


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether all gradients that tensors have are finite."""
    return bool(torch.stack([t.grad.isfinite().all() for t in tensors if t.grad is not None]).all())


def _loss(
    fields: Fields,
    views: TrainingViews,
    chosen: list[int],
    config: RefineConfig,
    corrections: Corrections,
    generator: torch.Generator | None,
) -> Tensor:
    if generator is not None and config.dropout > 0:  # DropGaussian (Park et al., CVPR 2025): the others make up for those left out
        kept = (torch.rand(len(fields["means"]), generator=generator) >= config.dropout).nonzero()[:, 0].to(fields["means"].device)
        fields = {name: t.index_select(0, kept) for name, t in fields.items()}
        fields["opacities"] = (fields["opacities"] / (1 - config.dropout)).clamp(max=0.999)
    rgb, alpha = render_views(fields, views, chosen, config.backend, viewmats=corrections.poses(views.viewmats))
    loss = image_loss(corrections.exposed(rgb, chosen), alpha, views, chosen, config)
    if config.binary_weight > 0 and fields["opacities"].requires_grad:
        loss = loss + config.binary_weight * (fields["opacities"] * (1 - fields["opacities"])).mean()
    return loss


def image_loss(rgb: Tensor, alpha: Tensor, views: TrainingViews, chosen: list[int], config: RefineConfig) -> Tensor:
    """The loss of renderings [V, H, W, 3] and [V, H, W, 1] against their views: of colours and, where there are masks, of alpha."""
    target = views.rgb[chosen]
    loss = mse(rgb, target) + config.l1_weight * (rgb - target).abs().mean()
    return loss + config.alpha_weight * mse(alpha, views.alpha[chosen]) if views.masked else loss


def _bound(free: Fields, config: RefineConfig) -> None:
    """Clip colours to [0, 1] and lengthen the short axes of needles, which have no area from the side."""
    with torch.no_grad():
        if "colors" in free:
            free["colors"].clamp_(0, 1)
        if "scales" in free:
            longest = free["scales"].amax(-1, keepdim=True)
            free["scales"].copy_(torch.maximum(free["scales"], longest - math.log(config.max_anisotropy)))
