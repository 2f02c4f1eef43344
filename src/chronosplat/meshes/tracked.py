"""One mesh that moves with a scene that knows correspondence over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from chronosplat.meshes.mesh import Mesh
from chronosplat.meshes.surface import MeshOptions, surface
from chronosplat.scenes import Scene, Tracked


@dataclass(frozen=True)
class MovingSurface:
    """A mesh at rest, and where its vertices are at each time.

    Attributes:
        rest: the mesh at one of the times. vertices: [T, P, 3].
    """

    rest: Mesh
    vertices: NDArray[np.float32]


def moving_surface(scene: Scene, times: Sequence[float], options: MeshOptions | None = None) -> MovingSurface | None:
    """Extract a scene's surface at the middle one of some times, and move it along the scene's tracks.

    Returns:
        In the capture's world; None for a scene without correspondence over time.
    """
    if not isinstance(scene, Tracked):
        return None
    rest_time = times[len(times) // 2]
    rest = surface(scene.at(rest_time), options)
    with torch.no_grad():
        moved = scene.tracks(torch.from_numpy(rest.vertices), rest_time, torch.tensor(list(times), dtype=torch.float64))
    return MovingSurface(rest, moved.detach().cpu().float().numpy())
