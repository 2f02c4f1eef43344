"""Move, rotate, scale, and set on the ground: the Gaussians move in the capture's world, which stays where it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from chronosplat.cameras import Similarity
from chronosplat.edit.registry import Edit, edit_kind
from chronosplat.edit.sampled import sampled
from chronosplat.events import Events, info
from chronosplat.scenes import FAINT, Editable, Scene, quats_to_matrices

Vector = tuple[float, float, float]


@edit_kind("move")
@dataclass(frozen=True)
class Move(Edit):
    """Move the scene."""

    by: Vector
    """x y z in the capture's units."""

    def apply(self, scene: Editable, events: Events) -> Scene:
        """Move the scene."""
        return scene.moved(Similarity(translation=torch.tensor(self.by, dtype=torch.float64)))


@edit_kind("rotate")
@dataclass(frozen=True)
class Rotate(Edit):
    """Rotate the scene counterclockwise, seen from the tip of the axis."""

    degrees: float
    """The angle."""
    axis: Vector = (0.0, 1.0, 0.0)
    """Direction of the axis, of any length."""
    about: Vector = (0.0, 0.0, 0.0)
    """A point of the axis."""

    def check(self) -> None:
        """Refuse an axis without a direction."""
        if math.hypot(*self.axis) < 1e-9:
            raise self.wrong("axis", "a direction")

    def apply(self, scene: Editable, events: Events) -> Scene:
        """Rotate the scene."""
        half = math.radians(self.degrees) / 2
        axis = torch.tensor(self.axis, dtype=torch.float64) / math.hypot(*self.axis)
        quat = torch.cat([torch.tensor([math.cos(half)], dtype=torch.float64), math.sin(half) * axis])
        return scene.moved(_about(Similarity(rotation=quats_to_matrices(quat)), self.about))


@edit_kind("scale")
@dataclass(frozen=True)
class Scale(Edit):
    """Scale the scene."""

    factor: float
    """Above 0; 2 doubles lengths."""
    about: Vector = (0.0, 0.0, 0.0)
    """The point that stays."""

    def check(self) -> None:
        """Refuse a factor that turns the scene inside out."""
        if self.factor <= 0:
            raise self.wrong("factor", "a number above 0")

    def apply(self, scene: Editable, events: Events) -> Scene:
        """Scale the scene."""
        return scene.moved(_about(Similarity(self.factor), self.about))


@edit_kind("ground")
@dataclass(frozen=True)
class Ground(Edit):
    """Set the scene on the ground: move it along its up axis until its lowest point over time has height 0.

    Up is the scene's own +Y, which exports turn to the up axis of their format. Heights count from the point around which exports and
    turntables place the scene.
    """

    ignore: float = 0.001
    """Share of the Gaussians, weighted by opacity, that may lie below the ground; stragglers do not lift the scene."""

    def check(self) -> None:
        """Refuse shares outside [0, 1)."""
        if not 0 <= self.ignore < 1:
            raise self.wrong("ignore", "a share from 0 to below 1")

    def apply(self, scene: Editable, events: Events) -> Scene:
        """Move the scene to the ground."""
        up = scene.world.rotation[:, 1]
        lowest = min(self._lowest(still.means.double() @ up.to(still.means.device), still.opacities) for still in sampled(scene))
        shift = float(scene.world.translation @ up) - lowest
        events.notice(info("ground", f"ground: moved by {shift:.3g} along the up axis"))
        return scene.moved(Similarity(translation=shift * up))

    def _lowest(self, heights: Tensor, opacities: Tensor) -> float:
        """The height below which no more than the ignored share lies."""
        seen = opacities >= FAINT
        if not bool(seen.any()):
            return math.inf
        order = heights[seen].argsort()
        below = opacities[seen][order].double().cumsum(0)
        return float(heights[seen][order][int((below <= self.ignore * below[-1]).sum())])


def _about(change: Similarity, point: Vector) -> Similarity:
    """The change that leaves a point where it is."""
    fixed = torch.tensor(point, dtype=torch.float64)
    return Similarity(change.scale, change.rotation, fixed - change.points(fixed))
