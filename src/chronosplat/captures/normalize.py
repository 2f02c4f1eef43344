"""World normalisation from the cameras: their look-at point becomes the origin, their distance 1.5.

The object of an inward-facing capture is where the optical axes meet. The first camera goes to azimuth 0, so that the
network's input does not depend on the capture's heading. The cameras' mean up becomes +Y, unless the capture states its up.
"""

from __future__ import annotations

import torch
from torch import Tensor

from chronosplat.cameras import RADIUS, Cameras, Similarity


def distinct(cameras: Cameras) -> Cameras:
    """Return each distinct pose once, in order of first appearance."""
    _, which = torch.unique(cameras.viewmats, dim=0, return_inverse=True)
    first: dict[int, int] = {}
    for index, number in enumerate(which.tolist()):
        first.setdefault(number, index)
    return cameras[sorted(first.values())]


def look_at_point(cameras: Cameras) -> Tensor:
    """Return the point [3] nearest to all optical axes (least squares), float64.

    A single axis, or parallel ones, leave it undetermined: a small weight ties it to each camera's point at
    :func:`expected_distance`.
    """
    centers, forwards = cameras.centers.double(), cameras.forwards.double()
    forwards = forwards / forwards.norm(dim=-1, keepdim=True)
    across = torch.eye(3, dtype=torch.float64) - forwards[:, :, None] * forwards[:, None, :]
    tie = 1e-4
    lhs = across.sum(0) + tie * len(centers) * torch.eye(3, dtype=torch.float64)
    rhs = (across @ centers[:, :, None]).sum(0)[:, 0] + tie * (centers + expected_distance(centers, forwards) * forwards).sum(0)
    return torch.linalg.solve(lhs, rhs)


def expected_distance(centers: Tensor, forwards: Tensor) -> float:
    """Estimate the object's distance from the cameras: their spread, if they differ.

    Else the distance of the world's origin, if that lies ahead and near the axis; else 1.5.
    """
    spread = float((centers - centers.mean(0)).norm(dim=-1).mean())
    if spread > 1e-6 * (1 + float(centers.norm(dim=-1).max())):
        return spread
    ahead = -float((centers[0] * forwards[0]).sum())
    beside = float((centers[0] + ahead * forwards[0]).norm())
    return ahead if ahead > 0 and beside < 0.5 * ahead else RADIUS


def normalizing_similarity(cameras: Cameras, up: Tensor | None = None) -> Similarity:
    """Compute the similarity from the normalised world to the capture's world.

    Args:
        up: [3] the capture's up direction; the mean up of the cameras if None.
    """
    target = look_at_point(cameras)
    offsets = cameras.centers.double() - target
    distance = float(offsets.norm(dim=-1).mean())
    y = (cameras.ups.double().mean(0) if up is None else up.double()).clone()
    if float(y.norm()) < 1e-6:
        y = cameras.ups[0].double()
    y = y / y.norm()
    z = offsets[0] - (offsets[0] @ y) * y
    if float(z.norm()) < 1e-3 * distance:  # the first camera looks straight down or up: its own up defines the heading
        z = -cameras.ups[0].double() + (cameras.ups[0].double() @ y) * y
    if float(z.norm()) < 1e-9:
        z = torch.linalg.cross(torch.tensor([1.0, 0, 0], dtype=torch.float64), y)
    z = z / z.norm()
    rotation = torch.stack([torch.linalg.cross(y, z), y, z], dim=1)
    return Similarity(max(distance, 1e-9) / RADIUS, rotation, target)
