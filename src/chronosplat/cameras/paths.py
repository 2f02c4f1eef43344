"""Camera paths around an object at the origin of a +Y-up world.

At azimuth 0 the camera is on +Z; as azimuth grows it moves towards +X, to the viewer's right (L4GM's orbit).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from chronosplat.cameras.cameras import Cameras, intrinsics

RADIUS = 1.5  # L4GM and LGM: distance of the cameras
FOVY = 49.1  # L4GM and LGM: vertical field of view in degrees
CANONICAL = (0.0, 90.0, 180.0, 270.0)  # azimuths of the four canonical views


def orbit_pose(azimuth: float, elevation: float, radius: float = RADIUS) -> Tensor:
    """Return the camera-to-world matrix [4, 4] (OpenGL axes, float64) of a camera that looks at the origin; angles in degrees."""
    a, e = math.radians(azimuth), math.radians(elevation)
    backward = torch.tensor([math.cos(e) * math.sin(a), math.sin(e), math.cos(e) * math.cos(a)], dtype=torch.float64)
    right = torch.tensor([math.cos(a), 0.0, -math.sin(a)], dtype=torch.float64)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, 0], pose[:3, 1], pose[:3, 2], pose[:3, 3] = right, torch.linalg.cross(backward, right), backward, radius * backward
    return pose


def orbit(
    azimuths: Sequence[float], elevations: Sequence[float] | float = 0.0, size: int = 256, radius: float = RADIUS, fovy: float = FOVY
) -> Cameras:
    """Place cameras with square images on a sphere around the origin.

    Args:
        azimuths: degrees, one per camera.
        elevations: degrees, one per camera or one for all.
        size: W = H in pixels. fovy: degrees.

    Returns:
        Cameras in float32, F = len(azimuths).
    """
    heights = [elevations] * len(azimuths) if isinstance(elevations, int | float) else elevations
    poses = torch.stack([orbit_pose(a, e, radius) for a, e in zip(azimuths, heights, strict=True)])
    Ks = intrinsics(size, size, fovy).expand(len(poses), 3, 3)
    return Cameras.from_opengl_c2w(poses, Ks, size, size).to(dtype=torch.float32)


def turntable(frames: int, turns: float = 1.0, elevation: float = 10.0, size: int = 256) -> Cameras:
    """Circle the object ``turns`` times in ``frames`` frames, starting in front."""
    return orbit([360.0 * turns * i / frames for i in range(frames)], elevation, size)


def space_time_path(frames: int, seconds: tuple[float, float], loops: int = 2, size: int = 256) -> tuple[Cameras, Tensor]:
    """Circle the object once while time runs forwards and backwards.

    Args:
        frames: F.
        seconds: first and last second of the scene.
        loops: number of passes from the first second to the last and back.

    Returns:
        F cameras and times [F] in seconds.
    """
    phase = torch.arange(frames, dtype=torch.float64) / max(frames, 1) * loops
    triangle = 1 - (2 * (phase % 1) - 1).abs()
    return turntable(frames, size=size), seconds[0] + triangle * (seconds[1] - seconds[0])
