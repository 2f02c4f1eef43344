"""Tracks: true trajectories of surface points, and the error of a scene that follows them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chronosplat.assets import PreparedSurface, rasterize_geometry
from chronosplat.assets.mesh import Floats
from chronosplat.cameras import Cameras
from chronosplat.scenes import Scene, Tracked

POINTS = 200
CANDIDATES = 40  # points drawn for each one that is kept; those out of sight are left out
DEPTH_TOLERANCE = 0.01  # of the object's size, between a point and the nearest surface in its pixel
TIMES_PER_CALL = 32


@dataclass(frozen=True)
class Tracks:
    """True trajectories of P points over T timestamps, in the world of the cameras.

    Attributes:
        first: index of the timestamp at which the points are visible.
        seconds: [T] float64. positions: [T, P, 3].
    """

    first: int
    seconds: Tensor
    positions: Tensor


def surface_tracks(
    surface: PreparedSurface,
    poses: Sequence[tuple[Floats, Floats]],
    seconds: NDArray[np.floating],
    first: int,
    cameras: Cameras,
    rng: np.random.Generator,
) -> Tracks | None:
    """Draw points from the visible surface, uniformly by area, and carry them with their triangles.

    Args:
        poses: vertices [V, 3] and normals at each of ``seconds`` [T].
        first: index of the timestamp at which at least one of ``cameras`` must see them.

    Returns:
        At most POINTS tracks; None if no point is visible.
    """
    corners = poses[first][0][surface.indices].astype(np.float64)  # [M, 3, 3]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    if not areas.sum() > 0:
        return None
    faces = surface.indices[rng.choice(len(areas), POINTS * CANDIDATES, p=areas / areas.sum())]
    weights = rng.dirichlet((1, 1, 1), len(faces))  # uniform in a triangle

    def at(frame: int, chosen: NDArray[np.integer] | slice) -> NDArray[np.floating]:
        return (poses[frame][0][faces[chosen]] * weights[chosen, :, None]).sum(1)

    depth = rasterize_geometry(surface, *poses[first], cameras, samples=1, threads=torch.get_num_threads()).depth
    seen = np.nonzero(_visible(torch.from_numpy(at(first, slice(None))), cameras, torch.from_numpy(depth)).numpy())[0][:POINTS]
    if not len(seen):
        return None
    positions = np.stack([at(frame, seen) for frame in range(len(poses))])
    return Tracks(first, torch.as_tensor(seconds, dtype=torch.float64), torch.from_numpy(positions))


def _visible(points: Tensor, cameras: Cameras, depth: Tensor) -> Tensor:
    """Whether any camera sees each point [P], by depth images [F, H, W]."""
    seen = torch.zeros(len(points), dtype=torch.bool)
    for viewmat, K, image in zip(cameras.viewmats.double(), cameras.Ks.double(), depth, strict=True):
        local = points.double() @ viewmat[:3, :3].T + viewmat[:3, 3]
        pixels = ((local @ K.T)[:, :2] / local[:, 2:].clamp_min(1e-9)).floor().long()
        inside = (local[:, 2] > 0) & (pixels >= 0).all(1) & (pixels[:, 0] < image.shape[1]) & (pixels[:, 1] < image.shape[0])
        x, y = pixels[:, 0].clamp(0, image.shape[1] - 1), pixels[:, 1].clamp(0, image.shape[0] - 1)
        seen |= inside & (image[y, x] > 0) & ((local[:, 2] - image[y, x]).abs() < DEPTH_TOLERANCE)
    return seen


def track_error(scene: Scene | None, tracks: Tracks | None) -> float:
    """Compute the mean distance between tracked and true positions, over all points and timestamps.

    The unit is that of the world: in MeshStudio's, the moving object is one unit long.

    Returns:
        NaN without true tracks, or for a scene that follows no points.
    """
    if tracks is None or not isinstance(scene, Tracked):
        return math.nan
    points, at = tracks.positions[tracks.first].float(), float(tracks.seconds[tracks.first])
    with torch.no_grad():
        found = torch.cat([scene.tracks(points, at, some).cpu().double() for some in tracks.seconds.split(TIMES_PER_CALL)])
    return float((found - tracks.positions).norm(dim=-1).mean())
