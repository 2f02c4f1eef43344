"""Similarity transforms between worlds: ``x -> scale * rotation @ x + translation``."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Similarity:
    """Rotation, uniform scaling, translation.

    Attributes:
        scale: positive factor on lengths.
        rotation: [3, 3] proper rotation, float64.
        translation: [3], float64, in units of the target world.
    """

    scale: float = 1.0
    rotation: Tensor = field(default_factory=lambda: torch.eye(3, dtype=torch.float64))
    translation: Tensor = field(default_factory=lambda: torch.zeros(3, dtype=torch.float64))

    def points(self, x: Tensor) -> Tensor:
        """Map points [..., 3]."""
        return self.scale * self.directions(x) + self.translation.to(x)

    def directions(self, x: Tensor) -> Tensor:
        """Rotate directions [..., 3]; lengths are unchanged."""
        return x @ self.rotation.to(x).T

    def inverse(self) -> Similarity:
        """Return the inverse transform."""
        rotation = self.rotation.T
        return Similarity(1 / self.scale, rotation, -(rotation @ self.translation) / self.scale)

    def after(self, first: Similarity) -> Similarity:
        """Return the transform that applies ``first``, then this one."""
        translation = self.scale * (self.rotation @ first.translation) + self.translation
        return Similarity(self.scale * first.scale, self.rotation @ first.rotation, translation)

    def is_identity(self) -> bool:
        """Return whether points and directions map to themselves."""
        return self.scale == 1.0 and torch.equal(self.rotation, torch.eye(3).double()) and not self.translation.any()

    def matrix(self) -> Tensor:
        """Return the homogeneous matrix [4, 4], float64."""
        m = torch.eye(4, dtype=torch.float64)
        m[:3, :3], m[:3, 3] = self.scale * self.rotation, self.translation
        return m
