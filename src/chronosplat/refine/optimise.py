"""One optimisation: batches of views, Adam with a learning rate per field, and marks at which the state is evaluated."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chronosplat.events import Cancel
from chronosplat.refine.config import RefineConfig
from chronosplat.refine.corrections import Corrections
from chronosplat.refine.crop import Crop
from chronosplat.refine.fused_adam import BETAS, EPS, FusedAdam
from chronosplat.refine.neighbours import Neighbours
from chronosplat.refine.parameters import Fields, with_fields
from chronosplat.refine.training_views import TrainingViews, psnr_on, raster_inputs
from chronosplat.render import image_loss as losses
from chronosplat.render import rasterize
from chronosplat.scenes import Scene


@dataclass(frozen=True)
class Budget:
    """The length of an optimisation: steps, seconds, or whichever ends first."""

    steps: int | None = None
    seconds: float | None = None

    def share(self, part: float) -> Budget:
        """A fraction of it, of at least one step."""
        steps = None if self.steps is None else max(1, round(self.steps * part))
        return Budget(steps, None if self.seconds is None else self.seconds * part)

    def at_most(self, steps: int | None) -> Budget:
        """The budget with no more than some steps."""
        return Budget(min((n for n in (self.steps, steps) if n is not None), default=None), self.seconds)

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


class Stepper(ABC):
    """The state of an optimisation between steps; subclasses say what is optimised, and how it is rendered.

    Attributes:
        views: compared with. config: see RefineConfig. generator: random numbers on the CPU.
        adam: steps and holds the fields. corrections: of cameras and exposures.
    """

    views: TrainingViews
    config: RefineConfig
    generator: torch.Generator
    adam: FusedAdam
    corrections: Corrections
    correcting: torch.optim.Adam | None
    regularise: bool = True

    @abstractmethod
    def step(self, chosen: list[int], share: float) -> str:
        """Take a step against the chosen views; return why none was taken ("" if it was).

        Args:
            share: fraction of the budget that is spent.
        """

    @abstractmethod
    def psnr(self, chosen: Sequence[int]) -> float:
        """Mean PSNR in dB on the chosen views."""

    @abstractmethod
    def scene(self, like: Scene) -> Scene:
        """The state as a scene in the world and time of another."""

    @abstractmethod
    def grow(self) -> None:
        """Take on the size that an optimisation ends with, to measure the time of its last steps."""

    def is_whole(self, share: float) -> bool:
        """Whether all timestamps take part when a fraction of the budget is spent."""
        return True

    def draw(self, train: Sequence[int], queue: list[int], share: float) -> list[int]:
        """The views of the next step, by indices: all of ``train`` in turn, in random order.

        Args:
            queue: views that wait for their turn; it is changed.
        """
        count = min(self.config.batch, len(train))
        while len(queue) < count:
            queue += [train[i] for i in torch.randperm(len(train), generator=self.generator).tolist()]
        chosen = queue[:count]
        del queue[:count]
        return chosen

    def correct(self, corrections: Corrections) -> None:
        """Set up the corrections of cameras and exposures."""
        self.corrections = corrections
        groups = corrections.groups()
        self.correcting = torch.optim.Adam(groups, lr=0.0, betas=BETAS, eps=EPS) if groups else None

    def apply(self, scale: float) -> str:
        """Step along the gradients with ``scale`` times the learning rates; return why not ("" if it did)."""
        if not self.corrections.finite() or not self.adam.step(scale):
            return "a gradient became NaN"
        if self.correcting is not None:
            for group in self.correcting.param_groups:
                group["lr"] = group["initial_lr"] * scale
            self.correcting.step()
            self.correcting.zero_grad()
        return ""

    def dropped(self, opacities: Tensor) -> tuple[Tensor, int]:
        """Opacities with some Gaussians left out at random, and the number of the others.

        DropGaussian (Park et al., CVPR 2025): the others make up for those left out; backends skip the transparent.
        """
        count, dropout = len(opacities), self.config.dropout
        if not self.regularise or dropout <= 0:
            return opacities, max(count, 1)
        kept = (torch.rand(count, generator=self.generator) >= dropout).to(opacities)
        return (opacities / (1 - dropout)).clamp(max=0.999) * kept, max(int(kept.sum()), 1)


class FreeStepper(Stepper):
    """Every field of the Gaussians moves by itself.

    Attributes:
        fields: the Gaussians' fields, bounded; they change in place.

    Args:
        See :func:`optimise`.
    """

    def __init__(
        self, start: Mapping[str, Tensor], views: TrainingViews, config: RefineConfig, lrs: Mapping[str, float], regularise: bool
    ) -> None:
        self.views, self.config, self.regularise = views, config, regularise
        self.adam = FusedAdam(start, {name: lrs[name] for name in start}, max_anisotropy=config.max_anisotropy)
        self.fields = self.adam.values
        self.correct(Corrections(len(views), config, views.device))
        self.crop = Crop.around(views.pixels) if views.masked and not config.exposure else None
        self.steps = 0
        self.generator = torch.Generator().manual_seed(config.seed)
        smooth = regularise and config.velocity_weight > 0 and "velocities" in self.fields and len(self.fields["means"]) > 1
        smooth = smooth and self.fields["velocities"].requires_grad
        self.neighbours = Neighbours(torch.Generator().manual_seed(config.seed)) if smooth else None

    @property
    def optimises(self) -> bool:
        """Whether anything can change."""
        return self.correcting is not None or any(t.requires_grad for t in self.fields.values())

    def step(self, chosen: list[int], share: float) -> str:
        """See Stepper."""
        loss = self._loss(chosen)
        if not bool(torch.isfinite(loss)):
            return "the loss became NaN"
        loss.backward()
        self.steps += 1
        return self.apply(self.config.lr_floor**share)

    def grow(self) -> None:
        """See Stepper: there are as many Gaussians in the end."""

    def psnr(self, chosen: Sequence[int]) -> float:
        """See Stepper."""
        return psnr_on(self.fields, self.views, chosen, self.config.backend)

    def scene(self, like: Scene) -> Scene:
        """See Stepper."""
        return with_fields(like, _detached(self.fields))

    def _loss(self, chosen: list[int]) -> Tensor:
        config, views, fields = self.config, self.views, self.fields
        opacities, count = self.dropped(fields["opacities"])
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
        marks: fractions of the budget at which ``on_mark`` is called with the fields (its time does not count); of several that
            one step passes, at the last one.
        cancel: ends the optimisation early.

    Returns:
        The outcome. A loss or a gradient that is not finite ends it at the last state that was.
    """
    stepper = FreeStepper(start, views, config, lrs, regularise)
    fields, corrections = stepper.fields, stepper.corrections
    if not stepper.optimises:
        return Outcome(dict(fields), 0, "", corrections)
    steps, broken = run_steps(stepper, train, budget, marks, lambda share: on_mark(share, _detached(fields)), cancel)
    return Outcome(_detached(fields), steps, broken, corrections)


def run_steps(
    stepper: Stepper,
    train: Sequence[int],
    budget: Budget,
    marks: Sequence[float] = (),
    on_mark: Callable[[float], None] = lambda _share: None,
    cancel: Cancel | None = None,
) -> tuple[int, str]:
    """Step until the budget is spent.

    Args:
        train: indices of the views to compare with. marks, on_mark, cancel: see :func:`optimise`.

    Returns:
        The number of steps, and why it stopped early ("" if it did not).
    """
    cancel = Cancel() if cancel is None else cancel
    queue: list[int] = []
    remaining = sorted(marks)
    began, evaluating, steps = time.perf_counter(), 0.0, 0
    while True:
        share = budget.spent(steps, time.perf_counter() - began - evaluating)
        if cancel.requested:
            return steps, "interrupted"
        if passed := [mark for mark in remaining if share >= mark - 1e-9]:  # several by one step, if there are few steps
            paused, remaining = time.perf_counter(), remaining[len(passed) :]
            on_mark(passed[-1])
            evaluating += time.perf_counter() - paused
        if share >= 1 - 1e-9:
            return steps, ""
        if broken := stepper.step(stepper.draw(train, queue, share), share):
            return steps, broken
        steps += 1


def _detached(fields: Fields) -> Fields:
    return {name: t.detach().clone() if t.requires_grad else t for name, t in fields.items()}


def image_loss(rgb: Tensor, alpha: Tensor, views: TrainingViews, chosen: list[int], config: RefineConfig) -> Tensor:
    """The loss of renderings [V, H, W, 3] and [V, H, W, 1] against their views: of colours and, where there are masks, of alpha."""
    return losses.image_loss(rgb - 1 + alpha, alpha, targets(views, chosen, config))


def targets(views: TrainingViews, chosen: Sequence[int], config: RefineConfig) -> losses.Targets:
    """The chosen views, and the weights of the loss."""
    return losses.Targets(views.pixels, None, config.l1_weight, config.alpha_weight if views.masked else 0.0, chosen)
