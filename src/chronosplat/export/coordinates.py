"""Coordinates of files: the capture's, or upright by a format's convention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from chronosplat.cameras import Similarity
from chronosplat.scenes import SPLAT_SHAPES, Clock, Gaussians3D, Gaussians4D, Scene
from chronosplat.shapes import InputError

# rotations that take the normalised world's +Y to the named up axis
UPS = {
    "y": torch.eye(3, dtype=torch.float64),
    "z": torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=torch.float64),
    "y-down": torch.diag(torch.tensor([1.0, -1, -1], dtype=torch.float64)),
}


def oriented(scene: Scene, up: str) -> Scene:
    """Replace the scene's world so that the normalised +Y points to ``up`` and the look-at point is the origin.

    Args:
        up: one of UPS; ``capture`` changes nothing.

    Raises:
        InputError: an unknown up axis.
    """
    if up == "capture":
        return scene
    if up not in UPS:
        raise InputError(f"up: expected auto, capture, {', '.join(UPS)}; got {up!r}")
    return scene.with_world(Similarity(scene.world.scale, UPS[up]))


def in_world(scene: Scene) -> Gaussians3D | Gaussians4D:
    """Convert static or linearly moving Gaussians to the capture's world, and their times to seconds."""
    linear = scene.linear_form()
    if linear is None:
        raise InputError(f"scene: expected static Gaussians or linear motion, got a {scene.kind}")
    still = Gaussians3D(*(linear.tensors[name] for name in SPLAT_SHAPES), world=scene.world).in_world()
    if linear.clock is None or scene.seconds is None:
        return still
    clock, t = linear.clock, linear.tensors
    motion = {
        "velocities": scene.world.scale * scene.world.directions(t["velocities"]) / clock.rate,
        "time_centers": clock.seconds(t["time_centers"]),
        "time_sigmas": t["time_sigmas"] * clock.rate,
    }
    fields: dict[str, Any] = still.tensors() | motion
    return Gaussians4D(**fields, clock=Clock(), seconds=scene.seconds)


def placed(scene: Scene, world: Similarity) -> Gaussians3D | Gaussians4D:
    """Move a scene in its capture's coordinates into an own world, from which ``world`` leads back."""
    return in_world(scene.with_world(world.inverse())).with_world(world)


def upright(scene: Scene, up: str) -> Scene:
    """Give a scene in a file's coordinates an own world whose +Y is the file's up axis; one that has its own world keeps it."""
    keeps = up == "capture" or not scene.world.is_identity() or scene.linear_form() is None
    return scene if keeps else placed(scene, Similarity(rotation=UPS[up]))


def world_of(numbers: Sequence[float]) -> Similarity | None:
    """Parse the 16 numbers, row by row, of the matrix that a file notes as its world; None if there is no such matrix."""
    matrix = torch.tensor(numbers, dtype=torch.float64)
    if matrix.shape != (16,) or not bool(torch.isfinite(matrix).all()):
        return None
    matrix = matrix.reshape(4, 4)
    scale = float(torch.linalg.det(matrix[:3, :3]).clamp_min(1e-30) ** (1 / 3))
    rotation = matrix[:3, :3] / scale
    is_rotation = torch.allclose(rotation @ rotation.T, torch.eye(3, dtype=torch.float64), atol=1e-4)
    return Similarity(scale, rotation, matrix[:3, 3]) if is_rotation else None
