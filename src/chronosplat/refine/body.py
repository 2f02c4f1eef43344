"""One optimisation of a deformable scene: canonical Gaussians and the motion of their control nodes, jointly.

Timestamps are added outward from the rest time, frequencies from slow to fast, and Gaussians where the images pull most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from chronosplat.events import Events
from chronosplat.metrics import mean_psnr
from chronosplat.refine.config import DeformConfig, RefineConfig
from chronosplat.refine.corrections import Corrections
from chronosplat.refine.crop import Crop
from chronosplat.refine.fused_adam import FusedAdam
from chronosplat.refine.motion import Motion
from chronosplat.refine.optimise import Stepper, image_loss, targets
from chronosplat.refine.parameters import Fields
from chronosplat.refine.start import count_for
from chronosplat.refine.strategy import Problem
from chronosplat.refine.training_views import AT_ONCE, TrainingViews
from chronosplat.render import RasterInputs, rasterize
from chronosplat.render.image_loss import render_loss
from chronosplat.render.skinning import skin
from chronosplat.scenes import SPLAT_SHAPES, DeformableGaussians, Scene
from chronosplat.scenes.rotations import quats_to_matrices

REWEIGHT = 100  # steps between two updates of the skinning weights
SPLIT = 1.4  # a split Gaussian's scales are divided by it


@dataclass(frozen=True)
class BodyStart:
    """Where the optimisation of a deformable scene begins.

    Attributes:
        fields: canonical Gaussians, bounded. rest: their second, one of the views' timestamps.
        origin: for a report.
        settings: of this body. max_steps, lead: see Start.
        repeats: how often each of the views takes its turn; None: each once.
        poses: shifts and rotation vectors [M, K, 3] of the nodes at all timestamps, to begin with; None: at rest.
    """

    fields: Fields
    rest: float
    origin: str
    settings: DeformConfig
    max_steps: int | None = None
    lead: float = 0.0
    repeats: tuple[int, ...] | None = None
    poses: tuple[Tensor, Tensor] | None = None
    strategy: str = "deform"
    marks: tuple[float, ...] = (1.0,)  # not whole before: timestamps are added as the budget is spent
    preparation: int = 0

    def prepared(self, problem: Problem, events: Events) -> BodyStart:
        """See Start."""
        return self

    def begin(self, views: TrainingViews, config: RefineConfig) -> BodyStepper:
        """See Start."""
        return BodyStepper(self, views, config)

    def motion(self, stamps: Tensor, generator: torch.Generator) -> Motion:
        """The nodes, moved as ``poses`` says at the views' timestamps [M] in seconds."""
        found = Motion(self.fields["means"], stamps, self.rest, self.settings.motion, generator)
        if self.poses is not None:
            found.pose(*self.poses)
        return found

    def facts(self) -> dict[str, object]:
        """See Start."""
        return {"start": self.origin, "rest": self.rest, "registered": self.poses is not None}


class BodyStepper(Stepper):
    """The state of an optimisation between steps.

    Attributes:
        fields: canonical Gaussians, bounded, and the motion's coefficients. They change in place, or are replaced.
    """

    def __init__(self, start: BodyStart, views: TrainingViews, config: RefineConfig) -> None:
        self.views, self.config, self.deform = views, config, start.settings
        self.generator = torch.Generator().manual_seed(config.seed)
        self.repeats = start.repeats
        self.stamps, self.which = torch.unique(views.seconds, return_inverse=True)
        self.rest = int((self.stamps - start.rest).abs().argmin())
        self.away = (self.which - self.rest).abs().tolist()  # timestamps between each view's and the rest time
        means = start.fields["means"]
        self.motion = start.motion(self.stamps, self.generator)
        moving = {"shift": self.motion.shift, "turn": self.motion.turn} if len(self.stamps) > 1 else {}
        fields = {name: start.fields[name] for name in SPLAT_SHAPES} | moving
        lrs = {name: self.deform.lrs[name] for name in fields}
        self.adam = FusedAdam(fields, lrs, max_anisotropy=self.deform.max_anisotropy)
        self.fields = self.adam.values
        if moving:
            self.motion.shift, self.motion.turn = self.fields["shift"], self.fields["turn"]
        self.correct(Corrections(len(views), config, views.device))
        self.levels = [(level, Crop.around(level.pixels)) for level in views.pyramid]  # coarse to fine
        self.view_level(0.0)
        self.skinning = self.motion.skinning(means)
        self.pull = torch.zeros(len(means), device=means.device)
        self.seen = max(1.0, len(views) / len(self.stamps))  # views of a timestamp: more of them need less of a prior
        self.begun = len(means)
        self.target = max(self.begun, min(self.deform.max_gaussians, round(self.deform.final_density * count_for(views.pixels))))
        self.densified = 0.0
        self.rigidity = 0.0
        self.steps = 0

    def draw(self, train: Sequence[int], queue: list[int], share: float) -> list[int]:
        """See Stepper: views within reach of the rest time, which grows with the budget's share."""
        if self.deform.growth > 0:
            reach = self.reach(share)
            train = [i for i in train if self.away[i] <= reach] or train
        if self.repeats is not None:
            train = [i for i in train for _ in range(self.repeats[i])]
        return super().draw(train, queue, share)

    def reach(self, share: float) -> int:
        """Timestamps on either side of the rest time that take part."""
        return max(2, int(share / self.deform.growth * len(self.stamps) / 2)) + 1

    def is_whole(self, share: float) -> bool:
        """See Stepper."""
        return self.deform.growth <= 0 or self.reach(share) >= max(self.away)

    def grow(self) -> None:
        """See Stepper: Gaussians up to the number that the images can resolve."""
        before = 0
        while before < len(self.fields["means"]) < self.target:
            before = len(self.fields["means"])
            self._densify(self.deform.densify_until)

    def view_level(self, share: float) -> None:
        """Look at the images of a size that grows with the budget's share."""
        coarse, fine = self.deform.coarse_until, self.deform.fine_from
        passed = sum(share >= coarse + (fine - coarse) * k / max(len(self.levels) - 2, 1) for k in range(len(self.levels) - 1))
        self.views, self.crop = self.levels[passed]

    def step(self, chosen: list[int], share: float) -> str:
        """See Stepper."""
        self.view_level(share)
        stiff = max(0.0, 1 - share / self.deform.stiff_until)
        self.rigidity = self.deform.rigidity / self.seen * (self.deform.stiff * self.seen) ** stiff
        opening, frequencies = self.deform.opening, max(len(self.motion.scale), 1)
        self.motion.openness = min(1.0, (1 + share / opening * (frequencies - 1)) / frequencies) if opening > 0 else 1.0
        if self.steps % REWEIGHT == 0:
            self.skinning = self.motion.skinning(self.fields["means"])
        loss = self._loss(chosen)
        if not bool(torch.isfinite(loss)):
            return "the loss became NaN"
        loss.backward()
        gradient = self.fields["means"].grad
        assert gradient is not None
        pull = gradient.norm(dim=-1)
        if problem := self.apply(self.config.lr_floor**share):
            return problem
        self.pull += pull
        self.steps += 1
        if share >= self.densified + self.deform.densify_every and share < self.deform.densify_until:
            self.densified = share
            self._densify(share)
        return ""

    def _loss(self, chosen: list[int]) -> Tensor:
        config, deform, views, fields = self.config, self.deform, self.views, self.fields
        opacities, count = self.dropped(fields["opacities"])
        shifts, turns = self.motion.at_stamp(self.which[chosen])
        means, quats = skin(fields["means"], fields["quats"], *self.skinning, self.motion.nodes, shifts, turns)
        x = self._inputs({"means": means, "quats": quats, "opacities": opacities}, chosen)
        if self.corrections.gains.requires_grad:
            out = rasterize(x, config.backend)
            rgb = self.corrections.exposed(out.rgb[:, 0] + 1 - out.alpha[:, 0], chosen)
            loss = image_loss(rgb, out.alpha[:, 0], views, chosen, config)
        else:
            loss = render_loss(*self.crop.at(chosen, self.steps).apply(x, targets(views, chosen, config)), config.backend)
        loss = loss + config.binary_weight / count * (opacities * (1 - opacities)).sum()
        if len(self.motion.scale) and len(self.motion.nodes) > 1:
            loss = loss + self.rigidity * self.motion.bending(shifts, turns)
            loss = loss + deform.steadiness * self.motion.unsteadiness()
        return loss

    def _inputs(self, moved: Mapping[str, Tensor], chosen: Sequence[int]) -> RasterInputs:
        views = self.views
        which = torch.as_tensor(list(chosen), device=views.device)
        height, width = views.size
        return RasterInputs(
            means=moved["means"],
            quats=moved["quats"],
            scales=self.fields["scales"][None],
            opacities=moved["opacities"][None],
            colors=self.fields["colors"][None],
            viewmats=self.corrections.poses(views.viewmats)[which][:, None],
            Ks=views.Ks[which][:, None],
            width=width,
            height=height,
        )

    @torch.no_grad()
    def _densify(self, share: float) -> None:
        """Remove transparent Gaussians, and split those on which the images pull most, up to a number that grows."""
        deform, fields = self.deform, self.fields
        alive = (fields["opacities"] > deform.min_opacity).nonzero()[:, 0]
        if not len(alive):
            return
        wanted = round(self.begun + (self.target - self.begun) * min(1.0, share / deform.densify_until))
        added = max(0, min(wanted - len(alive), len(alive)))
        split = alive[self.pull[alive].topk(added).indices]
        old = {name: fields[name].clone() for name in SPLAT_SHAPES}
        noise = torch.randn(added, 3, generator=self.generator).to(old["means"])
        apart = (quats_to_matrices(old["quats"][split]) @ (noise * old["scales"][split])[..., None])[..., 0] * 0.7
        old["scales"][split] /= SPLIT
        old["means"][split] -= apart
        fresh = {name: t[split] for name, t in old.items()}
        fresh["means"] = fresh["means"] + 2 * apart
        origin = torch.cat([alive, torch.full((added,), -1, device=alive.device)])
        self.adam.regroup({name: torch.cat([t[alive], fresh[name]]) for name, t in old.items()}, origin)
        self.pull = torch.zeros(len(origin), device=alive.device)
        self.skinning = self.motion.skinning(fields["means"])

    @torch.no_grad()
    def render(self, chosen: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Render views: rgb [V, H, W, 3] on white and alpha [V, H, W, 1]."""
        shifts, turns = self.motion.at_stamp(self.which[list(chosen)])
        means, quats = skin(self.fields["means"], self.fields["quats"], *self.skinning, self.motion.nodes, shifts, turns)
        out = rasterize(self._inputs({"means": means, "quats": quats, "opacities": self.fields["opacities"]}, chosen), self.config.backend)
        return out.rgb[:, 0] + 1 - out.alpha[:, 0], out.alpha[:, 0]

    def psnr(self, chosen: Sequence[int]) -> float:
        """See Stepper."""
        found = 0.0
        for first in range(0, len(chosen), AT_ONCE):
            some = list(chosen[first : first + AT_ONCE])
            found += mean_psnr(self.render(some)[0], self.views.on_white(some)) * len(some)
        return found / len(chosen)

    @torch.no_grad()
    def scene(self, like: Scene) -> DeformableGaussians:
        """See Stepper."""
        knots = self.motion.knots()
        shifts, turns = self.motion.at(knots.to(self.stamps))
        nodes, weights = self.motion.skinning(self.fields["means"])
        canonical: dict[str, Any] = {name: self.fields[name].detach().clone() for name in SPLAT_SHAPES}
        canonical["quats"] = F.normalize(canonical["quats"], dim=-1)
        return DeformableGaussians(
            **canonical,
            nodes=self.motion.nodes,
            skin_nodes=nodes,
            skin_weights=weights,
            knots=knots,
            shifts=shifts,
            turns=turns,
            world=like.world,
        )
