"""Triangle meshes with vertex colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chronosplat.cameras import Similarity

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Mesh:
    """Q triangles over P vertices; seen from outside, their corners run counter-clockwise.

    Attributes:
        vertices: [P, 3]. faces: [Q, 3] vertex indices. colors: [P, 3] sRGB in [0, 1].
    """

    vertices: Floats
    faces: Ints
    colors: Floats

    def is_watertight(self) -> bool:
        """Whether every edge joins exactly two triangles that run through it in opposite directions."""
        if len(self.faces) == 0:
            return False
        starts, ends = self.faces.ravel(), np.roll(self.faces, -1, 1).ravel()
        size = len(self.vertices)
        edges, back = starts * size + ends, ends * size + starts
        return len(np.unique(edges)) == len(edges) and np.array_equal(np.sort(edges), np.sort(back))

    def volume(self) -> float:
        """The enclosed volume; negative where the triangles face inwards."""
        a, b, c = (self.vertices[self.faces[:, corner]].astype(np.float64) for corner in range(3))
        return float(np.einsum("qi,qi->", a, np.cross(b, c)) / 6)

    def areas(self) -> NDArray[np.float64]:
        """The areas of the triangles [Q]."""
        a, b, c = (self.vertices[self.faces[:, corner]].astype(np.float64) for corner in range(3))
        return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2

    def moved(self, world: Similarity) -> Mesh:
        """Map the vertices to another world."""
        vertices = world.scale * self.vertices.astype(np.float64) @ world.rotation.numpy().T + world.translation.numpy()
        return Mesh(vertices.astype(np.float32), self.faces, self.colors)

    def compacted(self, faces: Ints) -> Mesh:
        """Keep some of the triangles, and the vertices that they use."""
        used, renumbered = np.unique(faces, return_inverse=True)
        return Mesh(self.vertices[used], renumbered.reshape(faces.shape), self.colors[used])


def required(name: str) -> Any:
    """Import a library of the extra ``mesh``.

    Raises:
        UnavailableError: it is not installed.
    """
    from importlib import import_module

    from chronosplat.shapes import UnavailableError

    try:
        return import_module(name)
    except ImportError as error:
        raise UnavailableError(f"meshes: {name.split('.')[0]} is not installed", "run: pip install 'chronosplat[mesh]'") from error
