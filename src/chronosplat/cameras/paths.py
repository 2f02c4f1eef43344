"""Camera paths around an object at the origin of a +Y-up world.

Azimuth 0 looks from +Z; it grows from +Z to +X, so the camera moves to the viewer's right (L4GM's orbit).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from chronosplat.cameras.cameras import Cameras, intrinsics

RADIUS = 1.5  # L4GM and LGM: distance of every camera
FOVY = 49.1  # L4GM and LGM: vertical field of view in degrees
CANONICAL = (0.0, 90.0, 180.0, 270.0)  # azimuths of the four canonical views


def orbit_pose(azimuth: float, elevation: float, radius: float = RADIUS) -> Tensor:
    """Camera-to-world [4, 4], OpenGL axes, float64, looking at the origin; angles in degrees."""
    a, e = math.radians(azimuth), math.radians(elevation)
    backward = torch.tensor([math.cos(e) * math.sin(a), math.sin(e), math.cos(e) * math.cos(a)], dtype=torch.float64)
    right = torch.tensor([math.cos(a), 0.0, -math.sin(a)], dtype=torch.float64)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, 0], pose[:3, 1], pose[:3, 2], pose[:3, 3] = right, torch.linalg.cross(backward, right), backward, radius * backward
    return pose


def orbit(
    azimuths: Sequence[float], elevations: Sequence[float] | float = 0.0, size: int = 256, radius: float = RADIUS, fovy: float = FOVY
) -> Cameras:
    """Square cameras on a sphere around the origin.

    Args:
        azimuths: degrees, one per camera.
        elevations: degrees, one per camera or one for all.
        size: W = H in pixels.

    Returns:
        Cameras in float32, F = len(azimuths).
    """
    heights = [elevations] * len(azimuths) if isinstance(elevations, int | float) else elevations
    poses = torch.stack([orbit_pose(a, e, radius) for a, e in zip(azimuths, heights, strict=True)])
    Ks = intrinsics(size, size, fovy).expand(len(poses), 3, 3)
    return Cameras.from_opengl_c2w(poses, Ks, size, size).to(dtype=torch.float32)


def turntable(frames: int, turns: float = 1.0, elevation: float = 10.0, size: int = 256) -> Cameras:
    """A walk around the object: ``turns`` full circles in ``frames`` pictures, starting in front."""
    return orbit([360.0 * turns * i / frames for i in range(frames)], elevation, size)


def space_time_path(frames: int, seconds: tuple[float, float], loops: int = 2, size: int = 256) -> tuple[Cameras, Tensor]:
    """A turntable in space while time runs to and fro.

    Args:
        frames: pictures in all.
        seconds: first and last moment of the scene.
        loops: how often time runs from first to last and back.

    Returns:
        cameras (F = frames) and times [F] in seconds.
    """
    phase = torch.arange(frames, dtype=torch.float64) / max(frames, 1) * loops
    there_and_back = 1 - (2 * (phase % 1) - 1).abs()
    return turntable(frames, size=size), seconds[0] + there_and_back * (seconds[1] - seconds[0])
