"""Shots: one camera and one time per frame, along a path around the scene or from a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from chronosplat.cameras import RADIUS, Cameras, intrinsics, orbit_pose
from chronosplat.events import Events, info
from chronosplat.export.images.framing import stage_of
from chronosplat.export.images.options import FPS, SIZE, RenderOptions
from chronosplat.export.images.timing import frozen_time, played, steps_of, to_and_fro
from chronosplat.export.times import check_times
from chronosplat.scenes import Scene
from chronosplat.shapes import InputError

FAR, NEAR = 1.6, 0.85  # of a dolly, in distances of the other paths


@dataclass(frozen=True)
class Shots:
    """F frames to render.

    Attributes:
        cameras: F cameras in the capture's world. times: F seconds. fps: frames per second.
        near: near plane in the scene's own units.
    """

    cameras: Cameras
    times: tuple[float, ...]
    fps: float = FPS
    near: float = 0.01

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True)
class Place:
    """Where a camera stands: degrees, and the distance in units of ``RADIUS``."""

    azimuth: float
    elevation: float
    distance: float = 1.0


@dataclass(frozen=True)
class CameraPath:
    """A kind of path.

    Attributes:
        about: a short description.
        places: ``places(frames, options)``, one per frame.
        clock: how time runs: from the first second to the last and again; to the last and back; or not.
    """

    about: str
    places: Callable[[int, RenderOptions], list[Place]]
    clock: Literal["plays", "to and fro", "frozen"]


def _circle(frames: int, options: RenderOptions) -> list[Place]:
    return [Place(options.azimuth + 360 * options.turns * i / frames, options.elevation) for i in range(frames)]


def _approach(frames: int, options: RenderOptions) -> list[Place]:
    """Come closer, starting and ending gently."""
    parts = [i / max(frames - 1, 1) for i in range(frames)]
    return [Place(options.azimuth, options.elevation, FAR + (NEAR - FAR) * u * u * (3 - 2 * u)) for u in parts]


def _still(frames: int, options: RenderOptions) -> list[Place]:
    return [Place(options.azimuth, options.elevation)] * frames


PATHS = {
    "orbit": CameraPath("a circle while time runs back and forth", _circle, "to and fro"),
    "turntable": CameraPath("a circle while time plays", _circle, "plays"),
    "bullet": CameraPath("a circle in frozen time", _circle, "frozen"),
    "dolly": CameraPath("an approach while time plays", _approach, "plays"),
    "static": CameraPath("one camera while time plays", _still, "plays"),
}


def path_shots(scene: Scene, options: RenderOptions, events: Events | None = None) -> Shots:
    """Return the shots of a path around the scene, upright in its own world.

    A scene that does not fit into the paths' view, such as one of another tool, is framed by its own extent, with a notice.

    Raises:
        InputError: an unknown path, or a time outside the scene.
    """
    if options.path not in PATHS:
        raise InputError(f"path: expected {', '.join(PATHS)}; got {options.path!r}")
    path, fps = PATHS[options.path], options.fps or FPS
    span = scene.seconds
    if path.clock == "frozen" or options.at is not None or span is None or span[0] == span[1]:
        frames, _ = steps_of(options, fps)
        times = [frozen_time(scene, options)] * frames
    elif path.clock == "plays":
        frames, step = steps_of(options, fps, (span[1] - span[0]) / options.speed, is_open=True)
        times = played(span, frames, step * options.speed)
    else:
        times = to_and_fro(span, options, fps)
        frames = len(times)
    check_times(scene, times)
    stage = stage_of(scene, sum(times) / len(times))
    if not stage.is_identity() and events is not None:
        events.notice(info("framed", f"the scene is not normalised: the camera circles its middle at {stage.scale * RADIUS:.3g} units"))
    height = options.size or SIZE
    width = options.width or height
    poses = torch.stack([orbit_pose(p.azimuth, p.elevation, RADIUS * p.distance / options.zoom) for p in path.places(frames, options)])
    Ks = intrinsics(width, height, _vertical(options.fov, width, height)).expand(frames, 3, 3)
    cameras = Cameras.from_opengl_c2w(poses, Ks, width, height).transformed(scene.world.after(stage))
    return Shots(cameras, tuple(times), fps, 0.01 * min(1.0, stage.scale))


def _vertical(fov: float, width: int, height: int) -> float:
    """The vertical field of view in degrees of one along the shorter side."""
    half = torch.deg2rad(torch.tensor(fov, dtype=torch.float64)) / 2
    return float(torch.rad2deg(2 * torch.atan(torch.tan(half) * height / min(width, height))))


def own_shots(scene: Scene, cameras: Cameras, times: list[float], fps: float = FPS) -> Shots:
    """Shots from cameras in the scene's own world."""
    return Shots(cameras.to(dtype=torch.float64).transformed(scene.world), tuple(times), fps)
