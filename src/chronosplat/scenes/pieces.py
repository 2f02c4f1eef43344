"""From trajectories to linear motion: a Gaussian whose trajectory is not straight is split in time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from chronosplat.scenes.rotations import normalize

Fields = dict[str, Tensor]
TOLERANCE = 1.0  # largest distance of a piece from the trajectory, in longest axes of the Gaussian
OVERLAP = 0.5  # time sigma of a piece, in spacings of pieces
TINT = 0.1  # largest distance of a piece's colour from the Gaussian's
FOREVER = 3.0  # time sigma of a Gaussian in one piece, in durations of the video
STILL = 1e6  # the same without a duration
SEEN = 0.3  # temporal weight from which a piece must be on the trajectory


def in_pieces(
    cloud: Mapping[str, Tensor], means: Tensor, quats: Tensor, times: Tensor, tolerance: float = TOLERANCE
) -> tuple[Fields, Tensor]:
    """Split Gaussians along trajectories into pieces in linear motion.

    Args:
        cloud: scales [N, 3]; opacities [N] and colors [N, 3], or [M, N] and [M, N, 3] where they change.
        means: [M, N, 3] and quats: [M, N, 4] at M times.
        times: [M] scene times, ascending.

    Returns:
        The fields of a Gaussians4D, and the Gaussian [P] int64 that each piece is of. A straight trajectory stays one Gaussian;
        any other becomes 3, 5, 9, ... pieces, as few as stay within ``tolerance`` and at most one per time. A Gaussian whose
        colour or opacity changes by more than TINT is split, too, and each piece has its own.
    """
    longest = cloud["scales"].amax(-1)
    opacities = cloud["opacities"].expand(len(times), len(longest))
    looks = torch.cat([cloud["colors"].expand(len(times), len(longest), 3), opacities[..., None]], -1)
    span = float(times[-1] - times[0])
    waiting = torch.arange(len(longest), device=means.device)
    parts: list[Fields] = []
    sources: list[Tensor] = []
    for count in piece_counts(len(times)):
        centers, sigma = knots(times, count)
        some = means[:, waiting], quats[:, waiting], looks[:, waiting], longest[waiting]
        fits = [fitted(*some, times, center, sigma) for center in centers]
        off = torch.stack([fit.off for fit in fits]).amax(0)
        tinted = torch.stack([fit.tinted for fit in fits]).amax(0)
        near = (off <= tolerance * longest[waiting]) & (tinted <= TINT)
        done = near if count < len(times) and span > 0 else torch.ones_like(near)
        which = waiting[done]
        for center, fit in zip(centers, fits, strict=True):
            sources.append(which)
            opacities = fit.look[done][:, 3].clamp(0, 1)
            parts.append(
                {
                    "means": fit.mean[done],
                    "velocities": fit.velocity[done],
                    "time_centers": torch.full_like(opacities, center),
                    "time_sigmas": torch.full_like(opacities, sigma),
                    "quats": fit.quat[done],
                    "scales": cloud["scales"][which],
                    "opacities": opacities if count == 1 else shared(opacities),
                    "colors": fit.look[done][:, :3],
                }
            )
        waiting = waiting[~done]
        if not len(waiting):
            break
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}, torch.cat(sources)


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
        return [(first + last) / 2], FOREVER * (last - first) if last > first else STILL
    gap = (last - first) / (count - 1)
    return [first + gap * i for i in range(count)], OVERLAP * gap


class Fit(NamedTuple):
    """Pieces of N trajectories: mean [N, 3], velocity [N, 3], quat [N, 4], look [N, 4]: colour and opacity.

    ``off`` and ``tinted`` [N] are the largest distances of position and look, where the piece is visible.
    """

    mean: Tensor
    velocity: Tensor
    quat: Tensor
    look: Tensor
    off: Tensor
    tinted: Tensor


def fitted(means: Tensor, quats: Tensor, looks: Tensor, longest: Tensor, times: Tensor, center: float, sigma: float) -> Fit:
    """Fit a piece to trajectories [M, N] around a time. A turn counts as the distance that it moves a Gaussian's end."""
    away = times - center
    square = (away / sigma) ** 2
    weights = torch.exp(-0.5 * (square - square.amin()))  # relative to the nearest time, which may be far away
    design = torch.stack([torch.ones_like(away), away], -1)
    solve = torch.linalg.pinv((weights[:, None] * design).double()) * weights  # [2, M]: weighted least squares
    line = torch.einsum("im,mnc->inc", solve.to(means), means)
    signs = (quats * quats[len(quats) // 2]).sum(-1, keepdim=True).sign()
    quat = normalize((weights[:, None, None] * quats * signs).sum(0))
    look = (weights[:, None, None] * looks).sum(0) / weights.sum()
    off = (means - torch.einsum("mi,inc->mnc", design, line)).norm(dim=-1)
    angle = 2 * torch.acos((quats * quat).sum(-1).abs().clamp(max=1))
    near = weights > SEEN
    return Fit(line[0], line[1], quat, look, (off + angle * longest)[near].amax(0), (looks - look)[near].abs().amax((0, -1)))


def shared(opacities: Tensor) -> Tensor:
    """Opacity of pieces that have the given one together, in the mean of a piece's centre and midway between two centres."""
    places = torch.tensor([0.0, 0.5]).to(opacities)
    weights = torch.exp(-0.5 * ((torch.arange(-2, 4).to(opacities) - places[:, None]) / OVERLAP) ** 2)  # [2, pieces nearby]
    low, high = torch.zeros_like(opacities), torch.ones_like(opacities)
    for _ in range(24):  # bisection: together they are the more opaque, the more each is
        each = (low + high) / 2
        together = 1 - (1 - each[:, None, None] * weights).prod(-1).mean(-1)
        low, high = torch.where(together < opacities, each, low), torch.where(together < opacities, high, each)
    return ((low + high) / 2).clamp(max=0.999)
