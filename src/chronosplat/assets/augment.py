"""Augmentation of moving meshes: new objects from real ones, each function pure in the mesh and a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from chronosplat.assets.augment_bones import bone_noise
from chronosplat.assets.augment_look import recolour, retexture
from chronosplat.assets.derived import Derived
from chronosplat.assets.mesh import Floats, MovingMesh, unit

STRETCH = 1.35  # largest factor along one axis, and its inverse the smallest
SPEED = 2.0


@dataclass(frozen=True)
class Augmentation:
    """Probability of each change."""

    retexture: float = 0.4
    """Replace opaque materials by random textures."""
    recolour: float = 0.5
    """Turn hues, and change saturation and brightness."""
    bone_noise: float = 0.4
    """Add small periodic rotations to the joints of a skin."""
    speed: float = 0.5
    """Play up to twice as fast or as slowly."""
    stretch: float = 0.5
    """Scale each axis differently."""


def speed(mesh: MovingMesh, seed: int) -> MovingMesh:
    """Play the motion faster or more slowly, by a factor between 1/2 and 2."""
    factor = float(SPEED ** _rng(seed, 3).uniform(-1, 1))
    return Derived(mesh.name, mesh.surface, mesh.duration / factor, lambda seconds: mesh.vertices(seconds * factor))


def stretch(mesh: MovingMesh, seed: int) -> MovingMesh:
    """Scale each axis of the world by its own factor between 1/1.35 and 1.35."""
    factors = (STRETCH ** _rng(seed, 4).uniform(-1, 1, 3)).astype(np.float32)

    def vertices(seconds: float) -> tuple[Floats, Floats]:
        positions, normals = mesh.vertices(seconds)
        return positions * factors, unit(normals / factors)

    return Derived(mesh.name, mesh.surface, mesh.duration, vertices)


# in the order of application: bones are found before a mesh is wrapped, colours are turned after they are chosen
CHANGES: dict[str, Callable[[MovingMesh, int], MovingMesh]] = {
    "bone_noise": bone_noise,
    "retexture": retexture,
    "recolour": recolour,
    "speed": speed,
    "stretch": stretch,
}


def augment(mesh: MovingMesh, seed: int, config: Augmentation | None = None) -> MovingMesh:
    """Apply a random selection of all changes.

    Args:
        seed: any non-negative integer; equal seeds give equal objects.
    """
    config = config or Augmentation()
    draws = _rng(seed, 5).uniform(size=len(fields(config)))
    chosen = {field.name for field, draw in zip(fields(config), draws, strict=True) if draw < getattr(config, field.name)}
    for name, change in CHANGES.items():
        if name in chosen:
            mesh = change(mesh, seed)
    return mesh


def _rng(seed: int, stream: int) -> np.random.Generator:
    """Random numbers of one change, independent of those of the others."""
    return np.random.default_rng([seed, stream])
