"""Training clips: a moving mesh in the unit cube, rendered from several cameras at several times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chronosplat.assets import Lights, MovingMesh, PreparedSurface, Surface, rasterize_geometry, rasterize_mesh
from chronosplat.assets.mesh import Floats
from chronosplat.cameras import CANONICAL, Cameras, orbit
from chronosplat.shapes import InputError

ELEVATIONS = (-5.0, 60.0)  # L4GM: range of random views in degrees
FIXED_VIEWS = 16  # L4GM: a ring at elevation 0, every 22.5 degrees


@dataclass(frozen=True)
class Placement:
    """Scale and shift that fit all frames of a clip into the cube [-0.5, 0.5]^3 (L4GM's normalisation)."""

    center: Floats
    scale: float

    def apply(self, positions: Floats) -> Floats:
        """Place positions [P, 3]."""
        return (positions - self.center) * np.float32(self.scale)


def pose_clip(mesh: MovingMesh, seconds: NDArray[np.floating]) -> tuple[list[tuple[Floats, Floats]], Placement]:
    """Return positions and normals at each time, and the placement that fits them all.

    Raises:
        InputError: the mesh has no extent.
    """
    poses = [mesh.vertices(float(t)) for t in seconds]
    low = np.min([p.min(0) for p, _ in poses], 0)
    high = np.max([p.max(0) for p, _ in poses], 0)
    extent = float((high - low).max())
    if not extent > 0:
        raise InputError(f"{mesh.name}: the mesh has no extent; nothing to render")
    return poses, Placement(((low + high) / 2).astype(np.float32), 1 / extent)


def render_clip(
    mesh: MovingMesh, seconds: NDArray[np.floating], cameras: Cameras, lights: Lights | None = None, samples: int = 2
) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Render V cameras at T times, with ground truth for depth and motion.

    Returns:
        rgba [T, V, H, W, 4] uint8, straight sRGB with coverage alpha, and geometry [T, V, H, W, 4] float16: depth along
        the camera's axis (0 in the background), then the displacement of the surface per frame of the clip.
    """
    poses, placement = pose_clip(mesh, seconds)
    rgba, geometry = render_poses(mesh.surface, poses, placement, lambda frame: cameras, lights, samples)
    assert geometry is not None
    return rgba, geometry


def render_poses(
    surface: Surface,
    poses: list[tuple[Floats, Floats]],
    placement: Placement,
    cameras: Callable[[int], Cameras],
    lights: Lights | None = None,
    samples: int = 2,
    has_geometry: bool = True,
) -> tuple[NDArray[np.uint8], NDArray[np.float16] | None]:
    """Render poses from the cameras of their frame; see :func:`render_clip`.

    Args:
        has_geometry: also return depth and motion, which take twice the images' memory.
    """
    placed = np.stack([placement.apply(p) for p, _ in poses])
    velocities = np.gradient(placed, axis=0) if has_geometry and len(poses) > 1 else None
    prepared, first = PreparedSurface(surface), cameras(0)
    shape = (len(poses), len(first), first.height, first.width, 4)
    rgba, geometry = np.empty(shape, np.uint8), np.empty(shape, np.float16) if has_geometry else None
    for frame, (_, normals) in enumerate(poses):
        seen = cameras(frame)
        if geometry is None:
            rgba[frame] = rasterize_mesh(prepared, placed[frame], normals, seen, lights, samples, shading="pbr")
            continue
        speed = None if velocities is None else velocities[frame]
        images = rasterize_geometry(prepared, placed[frame], normals, seen, speed, lights, samples, shading="pbr")
        rgba[frame], geometry[frame, ..., 0], geometry[frame, ..., 1:] = images.rgba, images.depth, images.motion
    return rgba, geometry


def fixed_ring(size: int) -> Cameras:
    """Return L4GM's 16 fixed views."""
    return orbit([360 / FIXED_VIEWS * i for i in range(FIXED_VIEWS)], 0.0, size)


def random_views(count: int, size: int, rng: np.random.Generator, elevations: tuple[float, float] = ELEVATIONS) -> Cameras:
    """Sample L4GM's random views: azimuth uniform, elevation uniform in ``elevations`` (degrees)."""
    return orbit(list(rng.uniform(0, 360, count)), list(rng.uniform(*elevations, count)), size)


def training_views(size: int, rng: np.random.Generator, extra: int = 8) -> Cameras:
    """Sample the cameras of a training clip: four canonical views from a random heading, then ``extra`` random views."""
    heading = rng.choice([0.0, 90.0, 180.0, 270.0]) if rng.random() < 0.5 else rng.uniform(0, 360)
    canonical = orbit([heading + a for a in CANONICAL], 0.0 if rng.random() < 0.7 else rng.uniform(-5, 25), size)
    return Cameras.cat([canonical, random_views(extra, size, rng)])
