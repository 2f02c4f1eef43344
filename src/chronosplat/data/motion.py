"""How far an object moves in a clip, measured exactly on its vertices; and static objects that are set in motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chronosplat.assets import MovingMesh, Surface
from chronosplat.assets.mesh import Floats, Ints

MEASURED_FPS = 2.0  # L4GM filters by the optical flow at 2 fps
DRIFT = (0.05, 0.3)  # range of a static object's path, in units of its size


def motion_measure(placed: Sequence[Floats], faces: Ints, fps: float) -> float:
    """Return how far the surface moves in half a second, in units of the clip's normalised cube.

    It replaces L4GM's optical flow at 2 fps: the largest displacement of each point from where it was, averaged over the
    surface by area. The largest one within the time and not the last, because a wheel may be back where it was.

    Args:
        placed: T placed poses [P, 3]. fps: frames per second of the clip; a shorter clip is measured from end to end.
    """
    step = min(max(round(fps / MEASURED_FPS), 1), len(placed) - 1)
    if step < 1:
        return 0.0
    a, b, c = (placed[0][faces[:, k]] for k in range(3))
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    weights = np.zeros(len(placed[0]))
    for k in range(3):
        weights += np.bincount(faces[:, k], areas, len(weights))
    if not weights.sum() > 0:  # points and needles have no area
        weights[:] = 1
    starts = {*range(0, len(placed) - step, step), len(placed) - 1 - step}
    far = [np.max([np.linalg.norm(placed[i + k] - placed[i], axis=1) for k in range(1, step + 1)], 0) for i in sorted(starts)]
    return float(np.average(far, axis=1, weights=weights).mean())


@dataclass(frozen=True)
class DriftingMesh:
    """A static object that moves a little along one direction (4D-LRM's 783,000 static objects).

    Attributes:
        still: the object. direction: [3] displacement over ``duration`` seconds, in its own units.
    """

    still: MovingMesh
    direction: Floats
    duration: float = 1.0

    @property
    def name(self) -> str:
        """Name for messages."""
        return self.still.name

    @property
    def surface(self) -> Surface:
        """Topology and appearance."""
        return self.still.surface

    def vertices(self, seconds: float) -> tuple[Floats, Floats]:
        """Return positions and normals at a time."""
        positions, normals = self.still.vertices(0.0)
        return (positions + self.direction * (seconds / self.duration)).astype(np.float32), normals


def drifting(mesh: MovingMesh, seconds: float, rng: np.random.Generator) -> DriftingMesh:
    """Move a static object along a random direction, by 5 to 30 percent of its size in ``seconds``."""
    positions, _ = mesh.vertices(0.0)
    size = float((positions.max(0) - positions.min(0)).max())
    direction = rng.normal(size=3)
    length = rng.uniform(*DRIFT) * size / max(float(np.linalg.norm(direction)), 1e-9)
    return DriftingMesh(mesh, (direction * length).astype(np.float32), seconds)
