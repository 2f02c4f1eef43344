"""Similarity transforms between worlds: ``x -> scale * rotation @ x + translation``."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from chronosplat.shapes import InputError


@dataclass(frozen=True)
class Similarity:
    """A change of world: rotate, scale uniformly, translate.

    Attributes:
        scale: positive factor on lengths.
        rotation: [3, 3] proper rotation, float64.
        translation: [3], float64, in units of the target world.
    """

    scale: float = 1.0
    rotation: Tensor = field(default_factory=lambda: torch.eye(3, dtype=torch.float64))
    translation: Tensor = field(default_factory=lambda: torch.zeros(3, dtype=torch.float64))

    def points(self, x: Tensor) -> Tensor:
        """Map points [..., 3] into the target world."""
        return self.scale * self.directions(x) + self.translation.to(x)

    def directions(self, x: Tensor) -> Tensor:
        """Rotate directions [..., 3]; lengths stay."""
        return x @ self.rotation.to(x).T

    def inverse(self) -> Similarity:
        """The transform back."""
        rotation = self.rotation.T
        return Similarity(1 / self.scale, rotation, -(rotation @ self.translation) / self.scale)

    def after(self, first: Similarity) -> Similarity:
        """The transform that applies ``first`` and then this one."""
        return Similarity(
            self.scale * first.scale, self.rotation @ first.rotation, self.scale * (self.rotation @ first.translation) + self.translation
        )

    def is_identity(self) -> bool:
        """Whether nothing would change."""
        return self.scale == 1.0 and torch.equal(self.rotation, torch.eye(3).double()) and not self.translation.any()

    def matrix(self) -> Tensor:
        """The homogeneous matrix [4, 4], float64."""
        m = torch.eye(4, dtype=torch.float64)
        m[:3, :3] = self.scale * self.rotation
        m[:3, 3] = self.translation
        return m

    @staticmethod
    def from_matrix(matrix: Tensor) -> Similarity:
        """The inverse of :meth:`matrix`.

        Raises:
            InputError: a mirrored or singular matrix.
        """
        linear = matrix[:3, :3].double()
        determinant = float(torch.linalg.det(linear))
        if not determinant > 0:
            raise InputError(f"similarity: the matrix is mirrored or singular (determinant {determinant:g})")
        scale = determinant ** (1 / 3)
        return Similarity(scale, linear / scale, matrix[:3, 3].double())
