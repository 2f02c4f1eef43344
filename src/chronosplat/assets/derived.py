"""A moving mesh made from another one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chronosplat.assets.mesh import Floats, Surface


@dataclass(frozen=True)
class Derived:
    """A mesh whose vertices are a function of time."""

    name: str
    surface: Surface
    duration: float
    pose: Callable[[float], tuple[Floats, Floats]]

    def vertices(self, seconds: float) -> tuple[Floats, Floats]:
        """Return positions [P, 3] and unit normals [P, 3] at a time, +Y up."""
        return self.pose(seconds)
