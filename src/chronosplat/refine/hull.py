"""Random Gaussians in the visual hull of the alphas: how per-scene optimisation starts without a prediction."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from chronosplat.cameras import Cameras
from chronosplat.captures import Views, normalizing_similarity
from chronosplat.gaussians import Clock, Gaussians4D
from chronosplat.refine.coverage import directions_apart
from chronosplat.shapes import InputError

BOX = 0.75  # half the edge of the cube that holds any normalised object
CARVED_BY = 4  # pictures from different sides, the nearest in time, in whose alphas a point must lie
ROUNDS = 40


def random_in_hull(
    views: Views, count: int, seed: int = 0, sigma: float = 0.5, opacity: float = 0.1, like: Gaussians4D | None = None
) -> Gaussians4D:
    """A cloud of ``count`` Gaussians at rest, at random moments of the pictures, inside the silhouettes near those moments.

    Args:
        sigma: time sigma in scene time ([-1, 1] is the whole capture). opacity: of all Gaussians.
        like: a scene whose world and clock are to be used.

    Returns:
        A scene in the capture's world and seconds, like a prediction. Colours are those of the picture nearest in time.

    Raises:
        InputError: the silhouettes have nothing in common.
    """
    draws = torch.Generator().manual_seed(seed)
    first, last = views.seconds
    world = normalizing_similarity(views.cameras, views.up) if like is None else like.world
    clock = Clock((first + last) / 2, (last - first) / 2 if last > first else 1.0) if like is None else like.clock
    cameras = views.cameras.transformed(world.inverse()).to(dtype=torch.float32)
    times = clock.scene_time(views.times).float()
    pictures = torch.cat([views.on_white(), views.alphas], -1).float()
    carvers = {float(t): _carvers(cameras, (times - t).abs()) for t in torch.unique(times)}
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for _ in range(ROUNDS):
        x = (torch.rand(4 * count, 3, generator=draws) * 2 - 1) * BOX
        t = times[torch.randint(0, len(times), (4 * count,), generator=draws)]
        for moment, chosen in carvers.items():
            points = x[t == moment]
            samples = torch.stack([_sample(pictures[k], cameras.Ks[k], cameras.viewmats[k], points) for k in chosen])  # [C, P, 4]
            inside = (samples[..., 3] > 0.5).all(0)
            found.append((points[inside], torch.full((int(inside.sum()),), moment), samples[0, inside, :3]))
        if sum(len(points) for points, _, _ in found) >= count:
            break
    means, centers, colors = (torch.cat(parts) for parts in zip(*found, strict=True))
    if len(means) == 0:
        raise InputError("views: the silhouettes have nothing in common; check alphas and cameras")
    some = torch.randperm(len(means), generator=draws)[:count]
    means, centers, colors = means[some], centers[some], colors[some]
    probe = means[: min(2000, len(means))]
    spacing = torch.cdist(probe, means).topk(min(4, len(means)), largest=False).values[:, 1:]
    size = float(spacing.mean()) if spacing.numel() else 0.02
    one = torch.ones(len(means))
    return Gaussians4D(
        means=means,
        velocities=torch.zeros_like(means),
        time_centers=centers,
        time_sigmas=one * sigma,
        quats=torch.tensor([1.0, 0, 0, 0]).expand(len(means), 4).clone(),
        scales=one[:, None].expand(-1, 3) * size,
        opacities=one * opacity,
        colors=colors,
        world=world,
        clock=clock,
        seconds=views.seconds,
    )


def _carvers(cameras: Cameras, gap: Tensor) -> list[int]:
    """Pictures nearest in time whose directions are apart."""
    forwards = F.normalize(cameras.forwards.double(), dim=-1)
    order = gap.argsort(stable=True)
    return order[directions_apart(forwards[order])[:CARVED_BY]].tolist()


def _sample(picture: Tensor, K: Tensor, viewmat: Tensor, points: Tensor) -> Tensor:
    """Bilinear values [P, C] of a picture [H, W, C] where points [P, 3] project; zero outside and behind."""
    height, width = picture.shape[:2]
    seen = points @ viewmat[:3, :3].T + viewmat[:3, 3]
    pixels = seen[:, :2] / seen[:, 2:].clamp_min(1e-6) * K[(0, 1), (0, 1)] + K[:2, 2]
    grid = pixels / torch.tensor([width, height]) * 2 - 1
    values = F.grid_sample(picture.permute(2, 0, 1)[None], grid[None, None], align_corners=False)[0, :, 0].T
    return values * (seen[:, 2:] > 0)
