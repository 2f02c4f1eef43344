"""Crop: keep what lies in a box or a sphere."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from chronosplat.edit.registry import Edit, edit_kind
from chronosplat.edit.sampled import bounds, sampled, voted
from chronosplat.events import Events
from chronosplat.scenes import Editable, Scene
from chronosplat.shapes import InputError


@edit_kind("crop")
@dataclass(frozen=True)
class Crop(Edit):
    """Keep the Gaussians whose centres lie in a box or a sphere.

    Frames of a sequence are cropped one by one. A Gaussian that moves is kept if it lies inside for at least half of the time that it
    is visible.
    """

    box: tuple[float, float, float, float, float, float] | None = None
    """Least x y z, then most x y z."""
    sphere: tuple[float, float, float, float] | None = None
    """Centre x y z, then the radius."""
    outside: bool = False
    """Keep what lies outside instead."""

    def check(self) -> None:
        """Refuse an empty region."""
        if (self.box is None) == (self.sphere is None):
            raise InputError("crop: expected a box or a sphere", "choose {box} or {sphere}", box=..., sphere=...)
        if self.box is not None and any(low >= high for low, high in zip(self.box[:3], self.box[3:], strict=True)):
            raise self.wrong("box", "least x y z below most x y z")
        if self.sphere is not None and self.sphere[3] <= 0:
            raise self.wrong("sphere", "x y z and a radius above 0")

    def apply(self, scene: Editable, events: Events) -> Scene:
        """Crop the scene."""
        inside, opacities = zip(*((self._contains(still.means), still.opacities) for still in sampled(scene)), strict=True)
        cropped = scene.select(voted(scene, torch.stack(inside) ^ self.outside, torch.stack(opacities)))
        if cropped.num_gaussians == 0:
            low, high = (" ".join(f"{value:.3g}" for value in corner.tolist()) for corner in bounds(scene))
            raise InputError(f"crop: nothing is left; the centres span {low} to {high} in the capture's world")
        return cropped

    def _contains(self, points: Tensor) -> Tensor:
        """Whether points [N, 3] lie in the region."""
        if self.box is not None:
            low, high = points.new_tensor(self.box[:3]), points.new_tensor(self.box[3:])
            return ((points >= low) & (points <= high)).all(-1)
        assert self.sphere is not None
        return (points - points.new_tensor(self.sphere[:3])).norm(dim=-1) <= self.sphere[3]
