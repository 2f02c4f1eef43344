"""Bone noise: small periodic rotations on top of an animation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from chronosplat.assets.animation import Channel
from chronosplat.assets.gltf import Array
from chronosplat.assets.mesh import MovingMesh
from chronosplat.assets.model import GltfModel

DEGREES = (2.0, 12.0)  # amplitude at each joint
PERIOD = 1.0  # seconds, of a static model


@dataclass(frozen=True)
class SwayingChannel(Channel):
    """A constant rotation, then a sinusoidal rotation about a fixed axis of the joint.

    Attributes:
        axis: unit vector times the amplitude in radians. frequency: in radians a second.
    """

    axis: tuple[float, float, float] = (0.0, 0.0, 0.0)
    frequency: float = 0.0
    phase: float = 0.0

    def at(self, seconds: float) -> Array:
        """Return the rotation at a time, an xyzw quaternion."""
        half = 0.5 * np.array(self.axis) * math.sin(self.frequency * seconds + self.phase)
        angle = float(np.linalg.norm(half))
        x, y, z, w = super().at(seconds)
        a, b, c, d = *(half * np.sinc(angle / math.pi)), math.cos(angle)
        return np.array(
            [w * a + x * d + y * c - z * b, w * b - x * c + y * d + z * a, w * c + x * b - y * a + z * d, w * d - x * a - y * b - z * c]
        )


def bone_noise(mesh: MovingMesh, seed: int) -> MovingMesh:
    """Add a rotation of 2 to 12 degrees to every joint of a skin below its root; other meshes are returned as they are.

    The added motion has one to three periods in the animation, so that loops stay closed.
    """
    if not isinstance(mesh, GltfModel) or not (joints := mesh.inner_joints()):
        return mesh
    rng = np.random.default_rng([seed, 0])
    rotations = {channel.node: channel for channel in mesh.channels if channel.path == "rotation"}
    swaying: list[Channel] = []
    for node in joints:
        axis = rng.normal(size=3)
        axis *= math.radians(rng.uniform(*DEGREES)) / max(float(np.linalg.norm(axis)), 1e-9)
        frequency, phase = 2 * math.pi * float(rng.integers(1, 4)) / (mesh.duration or PERIOD), float(rng.uniform(0, 2 * math.pi))
        rest = Channel(node, "rotation", np.zeros(1), mesh.skeleton.rotation[node][None], "LINEAR")
        base = rotations.get(node, rest)
        turn = (float(axis[0]), float(axis[1]), float(axis[2]))
        swaying.append(SwayingChannel(node, "rotation", base.keys, base.values, base.interpolation, turn, frequency, phase))
    replaced = {channel.node for channel in swaying}
    kept = [c for c in mesh.channels if c.path != "rotation" or c.node not in replaced]
    return mesh.with_channels([*kept, *swaying])
