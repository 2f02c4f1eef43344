"""From trajectories to linear motion: a Gaussian whose trajectory is not straight is split in time."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from chronosplat.refine.parameters import Fields
from chronosplat.scenes.rotations import normalize

TOLERANCE = 1.0  # largest distance of a piece from the trajectory, in longest axes of the Gaussian
OVERLAP = 0.5  # time sigma of a piece, in spacings of pieces
FOREVER = 3.0  # time sigma of a Gaussian in one piece, in durations of the video
SEEN = 0.3  # temporal weight from which a piece must be on the trajectory


def in_pieces(cloud: Mapping[str, Tensor], means: Tensor, quats: Tensor, times: Tensor, tolerance: float = TOLERANCE) -> Fields:
    """Split Gaussians along trajectories into pieces in linear motion.

    Args:
        cloud: scales [N, 3], opacities [N], colors [N, 3], which do not change.
        means: [M, N, 3] and quats: [M, N, 4] at M times.
        times: [M] scene times, ascending.

    Returns:
        The fields of a Gaussians4D. A straight trajectory stays one Gaussian; any other becomes 3, 5, 9, ... pieces, as few as
        stay within ``tolerance`` and at most one per time.
    """
    longest = cloud["scales"].amax(-1)
    span = float(times[-1] - times[0])
    waiting = torch.arange(len(longest), device=means.device)
    parts: list[Fields] = []
    for count in piece_counts(len(times)):
        centers, sigma = knots(times, count)
        fits = [fitted(means[:, waiting], quats[:, waiting], times, center, sigma, longest[waiting]) for center in centers]
        off = torch.stack([error for _, _, _, error in fits]).amax(0)
        done = off <= tolerance * longest[waiting] if count < len(times) and span > 0 else torch.ones_like(off, dtype=torch.bool)
        which = waiting[done]
        opacities = cloud["opacities"][which]
        for center, (mean, velocity, quat, _) in zip(centers, fits, strict=True):
            parts.append(
                {
                    "means": mean[done],
                    "velocities": velocity[done],
                    "time_centers": torch.full_like(opacities, center),
                    "time_sigmas": torch.full_like(opacities, sigma),
                    "quats": quat[done],
                    "scales": cloud["scales"][which],
                    "opacities": opacities if count == 1 else shared(opacities),
                    "colors": cloud["colors"][which],
                }
            )
        waiting = waiting[~done]
        if not len(waiting):
            break
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def piece_counts(times: int) -> list[int]:
    """Candidate numbers of pieces: 1, 3, 5, 9, ... and at last one per time."""
    counts, cuts = [1], 2
    while cuts + 1 < times:
        counts.append(cuts + 1)
        cuts *= 2
    return [*counts, times] if times > 1 else counts


def knots(times: Tensor, count: int) -> tuple[list[float], float]:
    """Centres and the time sigma of pieces, evenly spaced from the first time to the last."""
    first, last = float(times[0]), float(times[-1])
    if count == 1:
        return [(first + last) / 2], max(FOREVER * (last - first), 1e-3)
    gap = (last - first) / (count - 1)
    return [first + gap * i for i in range(count)], OVERLAP * gap


def fitted(means: Tensor, quats: Tensor, times: Tensor, center: float, sigma: float, longest: Tensor) -> tuple[Tensor, ...]:
    """Fit a piece to trajectories [M, N] around a time: mean, velocity, quaternion, and the largest error where it is visible."""
    away = times - center
    weights = torch.exp(-0.5 * (away / sigma) ** 2)
    design = torch.stack([torch.ones_like(away), away], -1)
    solve = torch.linalg.pinv((weights[:, None] * design).double()) * weights  # [2, M]: weighted least squares
    line = torch.einsum("im,mnc->inc", solve.to(means), means)
    signs = (quats * quats[len(quats) // 2]).sum(-1, keepdim=True).sign()
    quat = normalize((weights[:, None, None] * quats * signs).sum(0))
    off = (means - torch.einsum("mi,inc->mnc", design, line)).norm(dim=-1)
    angle = 2 * torch.acos((quats * quat).sum(-1).abs().clamp(max=1))
    seen = weights > SEEN
    near = seen if bool(seen.any()) else weights >= weights.max()
    return line[0], line[1], quat, (off + angle * longest)[near].amax(0)


def shared(opacities: Tensor) -> Tensor:
    """Opacity of pieces of which two, midway between their centres, have the given one together."""
    weight = math.exp(-0.5 * (0.5 / OVERLAP) ** 2)
    return ((1 - (1 - opacities).clamp_min(0).sqrt()) / weight).clamp(max=0.999)
