"""Random initialisation: Gaussians in the visual hull of the alphas, for optimisation without a prediction."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from chronosplat.cameras import Cameras
from chronosplat.captures import Views, normalizing_similarity
from chronosplat.refine.coverage import directions_apart
from chronosplat.refine.crop import Crop
from chronosplat.scenes import Clock, Gaussians4D, Scene
from chronosplat.shapes import InputError

BOX = 0.75  # half the edge of the cube that holds any normalised object
CARVING_VIEWS = 4  # views from different directions, the nearest in time, whose alphas must contain a point
ROUNDS = 40
PROBED, AT_ONCE = 2000, 100  # points whose distances to the nearest ones say how far apart all are, and those in memory at once
CELLS = 24  # along an edge of the cube, to find the box of the hulls


def random_in_hull(
    views: Views, count: int, seed: int = 0, sigma: float = 0.5, opacity: float = 0.1, like: Scene | None = None
) -> Gaussians4D:
    """``count`` Gaussians at rest, at random timestamps of the views, inside the silhouettes near those timestamps.

    Args:
        sigma: time sigma in scene time ([-1, 1] is the whole capture). opacity: of all Gaussians.
        like: a scene in linear motion whose world and clock are used.

    Returns:
        A scene in the capture's world and seconds, like a prediction. Colours are those of the view nearest in time.

    Raises:
        InputError: the silhouettes do not intersect.
    """
    generator = torch.Generator().manual_seed(seed)
    first, last = views.seconds
    world = normalizing_similarity(views.cameras, views.up) if like is None else like.world
    linear = None if like is None else like.linear_form()
    clock = Clock((first + last) / 2, (last - first) / 2 if last > first else 1.0)
    clock = clock if linear is None or linear.clock is None else linear.clock
    cameras = views.cameras.transformed(world.inverse()).to(dtype=torch.float32)
    times = clock.scene_time(views.times).float()

    def image(index: int) -> Tensor:  # one at a time, because of memory
        view = views[[index]]
        return torch.cat([view.on_white(), view.alphas], -1)[0].float()

    carving = {float(t): _carving_views(cameras, (times - t).abs()) for t in torch.unique(times)}
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    low, high = _bounding_box(views.rgba8(), cameras, list(carving.values()))
    for _ in range(ROUNDS):
        x = low + torch.rand(4 * count, 3, generator=generator) * (high - low)
        t = times[torch.randint(0, len(times), (4 * count,), generator=generator)]
        for time, chosen in carving.items():
            points = x[t == time]
            samples = torch.stack([_sample(image(k), cameras.Ks[k], cameras.viewmats[k], points) for k in chosen])  # [C, P, 4]
            inside = (samples[..., 3] > 0.5).all(0)
            found.append((points[inside], torch.full((int(inside.sum()),), time), samples[0, inside, :3]))
        if sum(len(points) for points, _, _ in found) >= count:
            break
    means, centers, colors = (torch.cat(parts) for parts in zip(*found, strict=True))
    if len(means) == 0:
        raise InputError("views: the silhouettes do not intersect; check alphas and cameras")
    chosen = torch.randperm(len(means), generator=generator)[:count]
    means, centers, colors = means[chosen], centers[chosen], colors[chosen]
    near = [torch.cdist(some, means).topk(min(4, len(means)), largest=False).values for some in means[:PROBED].split(AT_ONCE)]
    spacing = torch.cat(near)[:, 1:]
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


def _bounding_box(pixels: Tensor, cameras: Cameras, carving: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Find two opposite corners [3] of a box that contains the hulls of all timestamps.

    A cell of the cube may touch a hull if its circumsphere may project into the bounding boxes of the silhouettes.

    Args:
        pixels: [F, H, W, 4] uint8. carving: the views of each hull.
    """
    boxes = Crop.around(pixels, margin=1).boxes.float()[:, None]  # the margin covers bilinear sampling
    cell = 2 * BOX / CELLS
    steps = (torch.arange(CELLS) + 0.5) * cell - BOX
    centers, radius = torch.cartesian_prod(steps, steps, steps), 3**0.5 / 2 * cell
    seen = centers @ cameras.viewmats[:, :3, :3].transpose(1, 2) + cameras.viewmats[:, None, :3, 3]  # [F, P, 3]
    nearest = seen[..., 2:] - radius
    focal, middle = cameras.Ks[:, None, (0, 1), (0, 1)], cameras.Ks[:, None, :2, 2]
    ratio = seen[..., :2] / seen[..., 2:]
    pixels, reach = ratio * focal + middle, focal * radius * (1 + ratio.abs()) / nearest
    touched = ((pixels + reach >= boxes[..., :2]) & (pixels - reach <= boxes[..., 2:])).all(-1) | (nearest[..., 0] <= 0)
    hit = centers[torch.stack([touched[views].all(0) for views in carving]).any(0)]
    if len(hit) == 0:
        return torch.full((3,), -BOX), torch.full((3,), BOX)
    return hit.amin(0) - cell / 2, hit.amax(0) + cell / 2


def _carving_views(cameras: Cameras, gap: Tensor) -> list[int]:
    """Views nearest in time whose directions are apart."""
    forwards = F.normalize(cameras.forwards.double(), dim=-1)
    order = gap.argsort(stable=True)
    return order[directions_apart(forwards[order])[:CARVING_VIEWS]].tolist()


def _sample(image: Tensor, K: Tensor, viewmat: Tensor, points: Tensor) -> Tensor:
    """Bilinear values [P, C] of an image [H, W, C] where points [P, 3] project; zero outside and behind."""
    height, width = image.shape[:2]
    seen = points @ viewmat[:3, :3].T + viewmat[:3, 3]
    pixels = seen[:, :2] / seen[:, 2:].clamp_min(1e-6) * K[(0, 1), (0, 1)] + K[:2, 2]
    grid = pixels / torch.tensor([width, height]) * 2 - 1
    values = F.grid_sample(image.permute(2, 0, 1)[None], grid[None, None], align_corners=False)[0, :, 0].T
    return values * (seen[:, 2:] > 0)
