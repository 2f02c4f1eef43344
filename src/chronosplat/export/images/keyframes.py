"""Smooth camera paths between keyframes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from chronosplat.scenes import matrices_to_quats, normalize, quats_to_matrices


@dataclass(frozen=True)
class Key:
    """One camera.

    Attributes:
        pose: camera to world [4, 4], OpenGL axes, float64. fov: vertical, degrees. time: seconds; None if not given.
    """

    pose: Tensor
    fov: float
    time: float | None = None


def interpolated(keys: list[Key], frames: int, is_cycle: bool = False) -> list[Key]:
    """Interpolate evenly between keyframes: positions on a Catmull-Rom spline, rotations along great circles, the rest linearly.

    Args:
        is_cycle: whether the path returns to the first keyframe; the last frame then stands one step before it.
    """
    if len(keys) == 1:
        return keys * frames
    stops = [*keys, keys[0]] if is_cycle else keys
    positions = torch.stack([key.pose[:3, 3] for key in stops])
    quats = matrices_to_quats(torch.stack([key.pose[:3, :3] for key in stops]))
    last = len(stops) - 1
    found = []
    for frame in range(frames):
        along = last * frame / (frames if is_cycle else max(frames - 1, 1))
        index = min(int(along), last - 1)
        u = along - index
        before, after = (last - 1, 1) if is_cycle else (0, last)
        four = [index - 1 if index else before, index, index + 1, index + 2 if index + 2 <= last else after]
        pose = torch.eye(4, dtype=torch.float64)
        pose[:3, 3] = _spline(positions[four], u)
        pose[:3, :3] = quats_to_matrices(_slerp(quats[index], quats[index + 1], u))
        a, b = stops[index], stops[index + 1]
        time = None if a.time is None or b.time is None else a.time + (b.time - a.time) * u
        found.append(Key(pose, a.fov + (b.fov - a.fov) * u, time))
    return found


def _spline(p: Tensor, u: float) -> Tensor:
    """The point between the middle two of four points [4, 3] (uniform Catmull-Rom)."""
    weights = [-u + 2 * u**2 - u**3, 2 - 5 * u**2 + 3 * u**3, u + 4 * u**2 - 3 * u**3, -(u**2) + u**3]
    return torch.tensor(weights, dtype=p.dtype) @ p / 2


def _slerp(a: Tensor, b: Tensor, u: float) -> Tensor:
    """The rotation at ``u`` of the shorter way from one quaternion to another."""
    cosine = (a * b).sum()
    b, cosine = (b, cosine) if cosine >= 0 else (-b, -cosine)
    angle = torch.acos(cosine.clamp(max=1.0))
    if angle < 1e-6:
        return normalize(a + (b - a) * u)
    return normalize((torch.sin((1 - u) * angle) * a + torch.sin(u * angle) * b) / torch.sin(angle))
