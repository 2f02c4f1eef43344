"""Random scenes, worlds and numbers that the tests of cameras, scenes and export share."""

from __future__ import annotations

import math

import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

from chronosplat.cameras import Cameras, Similarity, intrinsics, pixel_rays
from chronosplat.scenes import Clock, Gaussians3D, Gaussians4D, GaussianSequence, normalize, quats_to_matrices

law = settings(derandomize=True, deadline=None, max_examples=25)
CLOCK = Clock(offset=3.0, rate=0.5)
SECONDS = (2.5, 3.5)


def vectors(size: int, low: float = -2.0, high: float = 2.0) -> st.SearchStrategy[Tensor]:
    """float64 vectors with entries between two bounds."""
    entries = st.floats(low, high, allow_nan=False, allow_subnormal=False)
    return st.lists(entries, min_size=size, max_size=size).map(lambda x: torch.tensor(x, dtype=torch.float64))


def quaternions() -> st.SearchStrategy[Tensor]:
    """Quaternions wxyz that are not unit, and not so short that their direction is lost."""
    return vectors(4).filter(lambda q: float(q.norm()) > 0.1)


def similarities() -> st.SearchStrategy[Similarity]:
    """Changes of world of any rotation."""
    return st.builds(Similarity, st.floats(0.2, 5.0), quaternions().map(quats_to_matrices), vectors(3))


def seeds() -> st.SearchStrategy[int]:
    """Seeds of the makers below."""
    return st.integers(0, 10_000)


def tilted_world() -> Similarity:
    """A world that is turned about a skew axis, larger and elsewhere."""
    rotation = quats_to_matrices(torch.tensor([0.7, 0.2, -0.5, 0.4], dtype=torch.float64))
    return Similarity(2.5, rotation, torch.tensor([0.3, -1.2, 4.0], dtype=torch.float64))


def static_scene(count: int = 6, seed: int = 0, world: Similarity | None = None, dtype: torch.dtype = torch.float32) -> Gaussians3D:
    """Random Gaussians around the origin, all visible."""
    random = torch.Generator().manual_seed(seed)
    return Gaussians3D(
        means=torch.randn(count, 3, generator=random).to(dtype) * 0.3,
        quats=normalize(torch.randn(count, 4, generator=random).to(dtype)),
        scales=torch.rand(count, 3, generator=random).to(dtype) * 0.2 + 0.02,
        opacities=torch.rand(count, generator=random).to(dtype) * 0.8 + 0.1,
        colors=torch.rand(count, 3, generator=random).to(dtype),
        world=world or Similarity(),
    )


def sequence_scene(frames: int = 3, count: int = 6, seed: int = 0, world: Similarity | None = None) -> GaussianSequence:
    """Random frames at uneven times."""
    sets = [static_scene(count, seed + i) for i in range(frames)]
    stacked = {name: torch.stack([getattr(s, name) for s in sets]) for name in sets[0].tensors()}
    times = torch.tensor([0.1 * i * (i + 1) for i in range(frames)]) + 1.0
    return GaussianSequence(**stacked, times=times, world=world or Similarity())


def moving_scene(
    count: int = 6,
    seed: int = 0,
    world: Similarity | None = None,
    clock: Clock = CLOCK,
    seconds: tuple[float, float] = SECONDS,
    dtype: torch.dtype = torch.float32,
) -> Gaussians4D:
    """Random moving Gaussians whose time centres lie in [-1, 1]."""
    still = static_scene(count, seed, dtype=dtype).tensors()
    random = torch.Generator().manual_seed(seed + 1)
    return Gaussians4D(
        **still,
        velocities=torch.randn(count, 3, generator=random).to(dtype) * 0.2,
        time_centers=torch.rand(count, generator=random).to(dtype) * 2 - 1,
        time_sigmas=torch.rand(count, generator=random).to(dtype) + 0.2,
        world=world or Similarity(),
        clock=clock,
        seconds=seconds,
    )


def random_cameras(frames: int = 3, seed: int = 0, width: int = 8, height: int = 6) -> Cameras:
    """float64 cameras in any pose, with uneven focal lengths and a principal point off the centre."""
    random = torch.Generator().manual_seed(seed)
    viewmats = torch.eye(4, dtype=torch.float64).repeat(frames, 1, 1)
    viewmats[:, :3, :3] = quats_to_matrices(torch.randn(frames, 4, generator=random, dtype=torch.float64))
    viewmats[:, :3, 3] = torch.randn(frames, 3, generator=random, dtype=torch.float64)
    Ks = intrinsics(width, height, 50.0).repeat(frames, 1, 1)
    Ks[:, 0, 0] *= 1.25
    Ks[:, :2, 2] += torch.rand(frames, 2, generator=random, dtype=torch.float64)
    return Cameras(viewmats, Ks, width, height)


def camera_rays(cameras: Cameras) -> tuple[Tensor, Tensor]:
    """Origins and unit directions [F, H, W, 3] of the rays through the pixel centres."""
    return pixel_rays(cameras.viewmats, cameras.Ks, cameras.width, cameras.height)


def condition(mean: Tensor, covariance: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Condition 4D Gaussians on time by the textbook formula.

    Args:
        mean: [..., 4]. covariance: [..., 4, 4]. t: broadcastable to [...].

    Returns:
        Mean [..., 3], covariance [..., 3, 3] and weight [...] at time t.
    """
    variance, coupling = covariance[..., 3, 3], covariance[..., :3, 3]
    dt = t - mean[..., 3]
    at_t = mean[..., :3] + coupling * (dt / variance)[..., None]
    spatial = covariance[..., :3, :3] - coupling[..., :, None] * coupling[..., None, :] / variance[..., None, None]
    return at_t, spatial, torch.exp(-0.5 * dt**2 / variance)


def project(cameras: Cameras, points: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels [F, N, 2] and depths [F, N] of points [F, N, 3] or [N, 3]."""
    points = points.expand(len(cameras), *points.shape[-2:]).to(cameras.viewmats)
    homogeneous = torch.cat([points, torch.ones_like(points[..., :1])], -1)
    local = torch.einsum("fij,fnj->fni", cameras.viewmats, homogeneous)[..., :3]
    pixels = torch.einsum("fij,fnj->fni", cameras.Ks, local / local[..., 2:])
    return pixels[..., :2], local[..., 2]


def covariances(gaussians: Gaussians3D | Gaussians4D) -> Tensor:
    """The spatial covariances [N, 3, 3], R S S R^T, in float64."""
    half = quats_to_matrices(gaussians.quats.double()) * gaussians.scales.double()[:, None, :]
    return half @ half.transpose(-1, -2)


def turn_about(axis: Tensor, degrees: float) -> Tensor:
    """The quaternion [4] of a turn about an axis [3] of any length."""
    half = math.radians(degrees) / 2
    return torch.cat([torch.tensor([math.cos(half)], dtype=torch.float64), math.sin(half) * axis / axis.norm()])
