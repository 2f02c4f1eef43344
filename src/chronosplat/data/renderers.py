"""Renderers of clips: the package's rasteriser, and others that register themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chronosplat.assets import Lights, MovingMesh
from chronosplat.assets.blender import render_with_blender
from chronosplat.assets.mesh import Floats
from chronosplat.data.clips import Placement, render_poses
from chronosplat.data.motion import DriftingMesh
from chronosplat.data.rigs import Rig
from chronosplat.shapes import InputError


@dataclass(frozen=True)
class Shot:
    """One clip to render.

    Attributes:
        mesh: the moving object. path, animation: its file and the number of its animation; None for procedural objects.
        seconds: [T] times in the animation. poses: T positions [P, 3] and normals [P, 3] at these times.
        placement: from the object's world into the rig's.
        samples: samples x samples per pixel. has_geometry: whether depth and motion are wanted.
    """

    mesh: MovingMesh
    path: Path | None
    animation: int | None
    seconds: NDArray[np.float64]
    poses: list[tuple[Floats, Floats]]
    placement: Placement
    rig: Rig
    lights: Lights
    samples: int
    has_geometry: bool = True


# -> frames [T, V, H, W, 4] uint8 and geometry [T, V, H, W, 4] float16, or None where it is not wanted or the renderer has none
Renderer = Callable[[Shot], tuple[NDArray[np.uint8], NDArray[np.float16] | None]]
RENDERERS: dict[str, Renderer] = {}


def register_renderer(name: str) -> Callable[[Renderer], Renderer]:
    """Register a renderer."""

    def add(render: Renderer) -> Renderer:
        RENDERERS[name] = render
        return render

    return add


def renderer(name: str) -> Renderer:
    """Return a renderer by name.

    Raises:
        InputError: the name is unknown.
    """
    if name not in RENDERERS:
        raise InputError(f"renderer {name!r}: unknown; use one of {', '.join(RENDERERS)}")
    return RENDERERS[name]


@register_renderer("native")
def render_native(shot: Shot) -> tuple[NDArray[np.uint8], NDArray[np.float16] | None]:
    """Render with the package's rasteriser, on one thread."""
    return render_poses(shot.mesh.surface, shot.poses, shot.placement, shot.rig.at, shot.lights, shot.samples, shot.has_geometry)


@register_renderer("blender")
def render_blender(shot: Shot) -> tuple[NDArray[np.uint8], NDArray[np.float16] | None]:
    """Render with an installed Blender, on one thread; it gives no depth and no motion.

    Raises:
        InputError: the object is procedural, or a static one that was set in motion; Blender knows neither.
        UnavailableError: there is no Blender.
    """
    if shot.path is None or isinstance(shot.mesh, DriftingMesh):
        what = "procedural" if shot.path is None else "static"
        raise InputError(f"{shot.mesh.name}: renderer blender takes animated files only, and this object is {what}; use renderer native")
    rig, placement = shot.rig, shot.placement
    viewmats, Ks, size = rig.viewmats.numpy(), rig.Ks.numpy(), (rig.size, rig.size)
    samples = shot.samples**2
    frames = render_with_blender(
        shot.path, shot.animation, shot.seconds, viewmats, Ks, size, placement.center, placement.scale, shot.lights, samples
    )
    return frames, None
