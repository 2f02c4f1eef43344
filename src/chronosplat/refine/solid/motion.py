"""A body of surface points moved by nodes, and what an unlikely pose of it costs.

Units are pixels: x and y on the plane at the object's distance, z behind it. The camera is at the origin's distance in front,
which is the focal length in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from chronosplat.refine.motion import TURN_WEIGHT, displacement
from chronosplat.scenes.deformable import rotation_quats
from chronosplat.scenes.rotations import quats_to_matrices

DEPTH_WEIGHT = 0.03  # of displacements along the viewing direction, which a single camera does not see
TILT_WEIGHT = 0.06  # of rotations out of the image plane


@dataclass(frozen=True)
class Body:
    """N surface points at rest and the K nodes that move them.

    Attributes:
        points: [N, 3]. colors: [N, 3]. front: [N] in [0, 1]: how much a point shows what the camera sees.
        visible: [N] bool: whether the camera sees a point, perhaps through thin parts.
        columns: [N] int64 from 0 to P - 1: the pixel of the rest frame that each point comes from.
        pixels: [P, 2] int64 x and y of these pixels. heights: [P] half the thickness there. middles: [P] depth
            of the middle between front and back.
        nodes: [K, 3]. weights: [P, K] of the nodes in the motion of a column, rows sum to one.
        others, links [K, E], spacing: see Bones.
    """

    points: Tensor
    colors: Tensor
    front: Tensor
    visible: Tensor
    columns: Tensor
    pixels: Tensor
    heights: Tensor
    middles: Tensor
    nodes: Tensor
    weights: Tensor
    others: Tensor
    links: Tensor
    spacing: float

    @property
    def in_front(self) -> Tensor:
        """Indices of the points in front of the middle."""
        return (self.points[:, 2] <= self.middles[self.columns]).nonzero()[:, 0]

    @property
    def edges(self) -> Tensor:
        """[K, E, 3] from each node to its neighbours, at rest."""
        return self.nodes[self.others] - self.nodes[:, None]


@dataclass
class Pose:
    """Displacements and rotation vectors of the nodes at V times, [V, K, 3] each."""

    shifts: Tensor
    turns: Tensor

    def __getitem__(self, which: Tensor | list[int] | slice) -> Pose:
        return Pose(self.shifts[which], self.turns[which])


def deform(body: Body, pose: Pose, chosen: Tensor | None = None) -> Tensor:
    """Move the points ``chosen`` (None: all) to V times: [V, n, 3]. See scenes.deformable.skin, its twin."""
    points, columns = (body.points, body.columns) if chosen is None else (body.points[chosen], body.columns[chosen])
    rotations = quats_to_matrices(rotation_quats(pose.turns))
    offsets = body.nodes + pose.shifts - (rotations @ body.nodes[:, :, None])[..., 0]
    blended = (body.weights @ torch.cat([rotations.flatten(-2), offsets], -1)).index_select(1, columns)
    return (blended[..., :9].unflatten(-1, (3, 3)) * points[:, None]).sum(-1) + blended[..., 9:]


def bending(body: Body, pose: Pose) -> Tensor:
    """As-rigid-as-possible energy (Sorkine and Alexa, SGP 2007), relative to the nodes' spacing; 0 for a rigid motion."""
    moved = pose.shifts[:, body.others] - pose.shifts[:, :, None]
    spins = rotation_quats(pose.turns)
    bent = moved - displacement(pose.turns[:, :, None], body.edges)
    unlike = ((spins[:, body.others] - spins[:, :, None]).square().sum(-1) * body.links).mean()
    return (bent.square().sum(-1) * body.links).mean() / body.spacing**2 + TURN_WEIGHT * unlike


def leaving_plane(body: Body, pose: Pose) -> Tensor:
    """Cost of motion along the viewing direction and of rotation out of the image plane."""
    depth = (pose.shifts[..., 2] / body.spacing).square().mean()
    return DEPTH_WEIGHT * depth + TILT_WEIGHT * pose.turns[..., :2].square().mean() / 4


def acceleration(body: Body, pose: Pose) -> Tensor:
    """Mean squared second difference over consecutive times; 0 with fewer than three."""
    if len(pose.shifts) < 3:
        return pose.shifts.new_zeros(())

    def second(x: Tensor) -> Tensor:
        return (x[2:] - 2 * x[1:-1] + x[:-2]).square().sum(-1).mean()

    return second(pose.shifts) / body.spacing**2 + TURN_WEIGHT / 4 * second(pose.turns)
