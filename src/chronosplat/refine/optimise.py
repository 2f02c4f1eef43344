"""One optimisation: batches of views, Adam with a learning rate per field, and marks at which the state is evaluated."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chronosplat.events import Cancel
from chronosplat.refine.config import RefineConfig
from chronosplat.refine.corrections import Corrections
from chronosplat.refine.crop import Crop
from chronosplat.refine.fused_adam import BETAS, EPS, FusedAdam
from chronosplat.refine.neighbours import Neighbours
from chronosplat.refine.parameters import Fields
from chronosplat.refine.training_views import TrainingViews, raster_inputs
from chronosplat.render import image_loss as losses
from chronosplat.render import rasterize


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


class Stepper:
    """The state of an optimisation between steps.

    Attributes:
        fields: the Gaussians' fields, bounded; they change in place.
        corrections: of cameras and exposures. generator: random numbers on the CPU.

    Args:
        See :func:`optimise`.
    """

    def __init__(
        self, start: Mapping[str, Tensor], views: TrainingViews, config: RefineConfig, lrs: Mapping[str, float], regularise: bool
    ) -> None:
        self.views, self.config, self.regularise = views, config, regularise
        self.adam = FusedAdam(start, {name: lrs[name] for name in start}, max_anisotropy=config.max_anisotropy)
        self.fields = self.adam.values
        self.corrections = Corrections(len(views), config, views.rgb.device)
        groups = self.corrections.groups()
        self.correcting = torch.optim.Adam(groups, lr=0.0, betas=BETAS, eps=EPS) if groups else None
        self.crop = Crop.around(views.alpha) if views.masked and not config.exposure else None
        self.steps = 0
        self.generator = torch.Generator().manual_seed(config.seed)
        smooth = regularise and config.velocity_weight > 0 and "velocities" in self.fields and len(self.fields["means"]) > 1
        smooth = smooth and self.fields["velocities"].requires_grad
        self.neighbours = Neighbours(torch.Generator().manual_seed(config.seed)) if smooth else None

    @property
    def optimises(self) -> bool:
        """Whether anything can change."""
        return self.correcting is not None or any(t.requires_grad for t in self.fields.values())

    def step(self, chosen: list[int], scale: float) -> str:
        """Take a step with ``scale`` times the learning rates; return why none was taken ("" if it was)."""
        loss = self._loss(chosen)
        if not bool(torch.isfinite(loss)):
            return "the loss became NaN"
        loss.backward()
        if not self.corrections.finite() or not self.adam.step(scale):
            return "a gradient became NaN"
        if self.correcting is not None:
            for group in self.correcting.param_groups:
                group["lr"] = group["initial_lr"] * scale
            self.correcting.step()
            self.correcting.zero_grad()
        self.steps += 1
        return ""

    def _loss(self, chosen: list[int]) -> Tensor:
        config, views, fields = self.config, self.views, self.fields
        count, opacities = len(fields["means"]), fields["opacities"]
        if self.regularise and config.dropout > 0:  # DropGaussian (Park et al., CVPR 2025): the others make up for those left out
            kept = (torch.rand(count, generator=self.generator) >= config.dropout).to(opacities)
            count = max(int(kept.sum()), 1)
            opacities = (opacities / (1 - config.dropout)).clamp(max=0.999) * kept  # backends skip the transparent
        x = raster_inputs(fields | {"opacities": opacities}, views, chosen, viewmats=self.corrections.poses(views.viewmats))
        if self.corrections.gains.requires_grad:
            out = rasterize(x, config.backend)
            rgb = self.corrections.exposed(out.rgb[0] + 1 - out.alpha[0], chosen)
            loss = image_loss(rgb, out.alpha[0], views, chosen, config)
        else:
            wanted = targets(views, chosen, config)
            if self.crop is not None:
                x, wanted = self.crop.at(chosen, self.steps).apply(x, wanted)
            loss = losses.render_loss(x, wanted, config.backend)
        if config.binary_weight > 0 and opacities.requires_grad:
            loss = loss + config.binary_weight / count * (opacities * (1 - opacities)).sum()
        if self.neighbours is not None:
            loss = loss + config.velocity_weight * self.neighbours.velocity_differences(fields)
        return loss


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
    stepper = Stepper(start, views, config, lrs, regularise)
    fields, corrections, generator = stepper.fields, stepper.corrections, stepper.generator
    if not stepper.optimises:
        return Outcome(dict(fields), 0, "", corrections)
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
            on_mark(remaining.pop(0), _detached(fields))
            evaluating += time.perf_counter() - paused
        if share >= 1 - 1e-9:
            break
        while len(queue) < min(config.batch, len(train)):
            queue += [train[i] for i in torch.randperm(len(train), generator=generator).tolist()]
        chosen, queue = queue[: config.batch], queue[config.batch :]
        outcome.broken = stepper.step(chosen, config.lr_floor**share)
        if outcome.broken:
            break
        steps += 1
    outcome.fields, outcome.steps = _detached(fields), steps
    return outcome


def _detached(fields: Fields) -> Fields:
    return {name: t.detach().clone() if t.requires_grad else t for name, t in fields.items()}


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether all gradients that tensors have are finite."""
    return bool(torch.stack([t.grad.isfinite().all() for t in tensors if t.grad is not None]).all())


def image_loss(rgb: Tensor, alpha: Tensor, views: TrainingViews, chosen: list[int], config: RefineConfig) -> Tensor:
    """The loss of renderings [V, H, W, 3] and [V, H, W, 1] against their views: of colours and, where there are masks, of alpha."""
    return losses.image_loss(rgb - 1 + alpha, alpha, targets(views, chosen, config))


def targets(views: TrainingViews, chosen: Sequence[int], config: RefineConfig) -> losses.Targets:
    """The chosen views, and the weights of the loss."""
    return losses.Targets(views.rgb, views.alpha, config.l1_weight, config.alpha_weight if views.masked else 0.0, chosen)
