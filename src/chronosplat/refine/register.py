"""A start for the motion of a body that several cameras see at every timestamp: registration of its hulls, without gradients.

Iterative closest points (Besl and McKay, 1992), non-rigid: each round pairs surface points of the rest time's hull with those of
a timestamp's, both ways, by position and colour, and solves a linear system for the nodes (Sorkine and Alexa, SGP 2007). It finds
swings of more than a part's width, where the gradient of a rendering sees nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from chronosplat.events import Cancel
from chronosplat.refine.hull import BOX
from chronosplat.refine.motion import Motion
from chronosplat.refine.training_views import TrainingViews
from chronosplat.scenes.rotations import matrices_to_quats

CELLS, PER_CELL = 80, 4  # along an edge of the cube that holds the object, and of those that are carved first
INSIDE = 0.25  # alpha of a silhouette
SIDES = ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1))
SAMPLES = 800  # surface points that are paired
COLOR = 0.3  # world units that a colour difference of one counts as
FAR = (0.4, 0.08)  # world units: pairs farther apart count little, in the first and the last round
COMPARED = 150  # surface points by which timestamps are compared; hulls with fewer are not registered
FEWEST_VIEWS = 3  # of a timestamp: the hull of fewer is a cone
LOST = 1.2  # times the median cost, above which a timestamp is tried again
ROUNDS = 9
STIFFNESS = (30.0, 1.0)  # pairs per node that an edge weighs as much as, in the first and the last round


Pose = tuple[Tensor, Tensor]  # positions [K, 3] and rotations [K, 3, 3] of nodes


@dataclass(frozen=True)
class Surface:
    """Visible points [P, 3] of a hull, and their colours [P, 3]."""

    points: Tensor
    colors: Tensor

    @property
    def features(self) -> Tensor:
        """What is compared [P, 6], in world units."""
        return torch.cat([self.points, COLOR * self.colors], -1)


@torch.no_grad()
def registered_poses(motion: Motion, views: TrainingViews, rest: int, seed: int = 0, cancel: Cancel | None = None) -> tuple[Tensor, Tensor]:
    """Shifts and rotation vectors [M, K, 3] of the nodes at the M timestamps, tracked from each timestamp to those most like it.

    Args:
        views: in the scene's world; small images suffice.
        rest: index of the rest time among the timestamps. cancel: leaves the other timestamps at the nearest pose so far.
    """
    generator, cancel = torch.Generator().manual_seed(seed), Cancel() if cancel is None else cancel
    stamps, which = torch.unique(views.seconds, return_inverse=True)
    chosen = [(which == k).nonzero()[:, 0].tolist() for k in range(len(stamps))]
    none = Surface(torch.zeros(0, 3), torch.zeros(0, 3))
    surfaces = [none if cancel.requested else hull_surface(views, some, generator) for some in chosen]
    usable = [k for k, surface in enumerate(surfaces) if len(surface.points) > COMPARED and len(chosen[k]) >= FEWEST_VIEWS]
    shifts, turns = (torch.zeros(len(stamps), *motion.nodes.shape) for _ in range(2))
    if rest not in usable:
        return shifts.to(motion.nodes), turns.to(motion.nodes)
    body = surfaces[rest]
    weights = dense_weights(motion, body.points)
    poses, costs = {rest: (motion.nodes.cpu(), torch.eye(3).expand(len(motion.nodes), 3, 3))}, {rest: 0.0}

    def track(k: int, origins: Iterable[int]) -> None:
        for other in origins:
            pose, cost = fit(motion, body, weights, surfaces[k], poses[other])
            if cost < costs.get(k, torch.inf):
                poses[k], costs[k] = pose, cost
                shifts[k], turns[k] = pose[0] - motion.nodes.cpu(), rotation_vectors(pose[1], turns[other])

    unlike = differences([surfaces[k] for k in usable])
    while (left := [k for k in usable if k not in poses]) and not cancel.requested:
        rows, columns = ([usable.index(k) for k in some] for some in (left, poses))
        some = unlike[rows][:, columns]
        k, alike = left[int(some.amin(1).argmin())], list(poses)[int(some.amin(0).argmin())]
        track(k, dict.fromkeys([alike, *(other for other in (k - 1, k + 1) if other in poses)]))
    for k in sorted(poses, key=lambda k: -costs[k]):  # again where the track was lost, from timestamps found since
        if costs[k] > LOST * sorted(costs.values())[len(costs) // 2] and not cancel.requested:
            track(k, [other for other in (k - 1, k + 1) if other in poses])
    usable = list(poses)
    nearest = [min(usable, key=lambda other: abs(other - k)) for k in range(len(stamps))]
    return shifts[nearest].to(motion.nodes), turns[nearest].to(motion.nodes)


def differences(surfaces: Sequence[Surface]) -> Tensor:
    """Mean robust distance between any two surfaces, both ways [S, S]."""
    some = torch.stack([surface.features[:COMPARED] for surface in surfaces])
    gaps = [torch.cdist(one[None], some) for one in some]
    return torch.stack([2 - robust(gap.amin(1), FAR[1]).mean(1) - robust(gap.amin(2), FAR[1]).mean(1) for gap in gaps])


def robust(gaps: Tensor, far: float) -> Tensor:
    """Weights of pairs."""
    return (1 + (gaps / far).square()).square().reciprocal()


def dense_weights(motion: Motion, points: Tensor) -> Tensor:
    """Skinning weights [P, K]."""
    nodes, weights = motion.skinning(points.to(motion.nodes))
    return torch.zeros(len(points), len(motion.nodes)).scatter_add(1, nodes.cpu(), weights.cpu())


def fit(motion: Motion, body: Surface, weights: Tensor, target: Surface, start: Pose) -> tuple[Pose, float]:
    """Move nodes so that the body's surface meets another one.

    Args:
        body: at rest. weights: [P, K] its skinning weights. start: where the nodes begin.

    Returns:
        The pose, and the mean robust cost of a pair, in [0, 1].
    """
    nodes, rotations = start
    rest, others, edges = motion.nodes.cpu(), motion.others.cpu(), motion.edges.cpu()
    count = len(rest)
    laplacian = edge_laplacian(others)
    colors = COLOR * body.colors
    cost = 1.0
    for k in range(ROUNDS):
        offsets = (rotations @ rest[:, :, None])[..., 0]
        turned = ((weights @ rotations.flatten(1)).unflatten(1, (3, 3)) @ body.points[:, :, None])[..., 0] - weights @ offsets
        now = turned + weights @ nodes
        gaps = torch.cdist(torch.cat([now, colors], -1), target.features)
        here, there = gaps.min(1), gaps.min(0)
        share = k / (ROUNDS - 1)
        reach = FAR[0] * (FAR[1] / FAR[0]) ** share
        near, far = robust(here.values, reach), robust(there.values, reach)
        cost = float(1 - (near.mean() + far.mean()) / 2)
        confidence = near.index_add(0, there.indices, far)
        wanted = near[:, None] * target.points[here.indices]
        wanted = wanted.index_add(0, there.indices, far[:, None] * target.points)
        pulled = wanted - confidence[:, None] * turned
        rigid = STIFFNESS[0] * (STIFFNESS[1] / STIFFNESS[0]) ** share
        system = rigid * laplacian + weights.T @ (confidence[:, None] * weights) + 1e-3 * torch.eye(count)
        factor = torch.linalg.cholesky(system)
        for _ in range(2):
            bent = (rotations[:, None] @ edges[..., None])[..., 0]
            pull = (-bent.sum(1)).index_add(0, others.flatten(), bent.flatten(0, 1))
            nodes = torch.cholesky_solve(rigid * pull + weights.T @ pulled + 1e-3 * nodes, factor)
            rotations = best_rotations(edges, nodes[others] - nodes[:, None])
    return (nodes, rotations), cost


def edge_laplacian(others: Tensor) -> Tensor:
    """[K, K] of the squared differences between each node and its neighbours [K, E]."""
    count, each = others.shape
    incidence = torch.zeros(count * each, count)
    rows = torch.arange(count * each)
    incidence[rows, others.flatten()] += 1
    incidence[rows, rows // each] -= 1
    return incidence.T @ incidence


def best_rotations(edges: Tensor, now: Tensor) -> Tensor:
    """Rotations [K, 3, 3] that best map edges [K, E, 3] to others (Kabsch)."""
    u, _, v = torch.linalg.svd(now.transpose(1, 2) @ edges)
    flip = torch.ones(len(u), 3)
    flip[:, 2] = torch.linalg.det(u @ v)
    return (u * flip[:, None]) @ v


def rotation_vectors(rotations: Tensor, near: Tensor) -> Tensor:
    """Rotation vectors [K, 3], each the nearest to another one of all that are the same rotation."""
    quats = matrices_to_quats(rotations)
    quats = torch.where(quats[:, :1] < 0, -quats, quats)
    sine = quats[:, 1:].norm(dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, quats[:, :1])
    axis = quats[:, 1:] / sine.clamp_min(1e-9)
    full = 2 * torch.pi
    turns = ((near * axis).sum(-1, keepdim=True) - angle) / full
    return axis * (angle + full * turns.round())


def hull_surface(views: TrainingViews, chosen: list[int], generator: torch.Generator) -> Surface:
    """Points on the surface of the visual hull of some views, with the mean colour of those that see them."""
    alphas = (views.pixels[chosen][..., 3].float() / 255)[:, None]
    cell = 2 * BOX / CELLS
    coarse = cell * PER_CELL
    axis = torch.arange(-BOX + coarse / 2, BOX, coarse, device=views.device)
    points = torch.cartesian_prod(axis, axis, axis)
    _, depth = _project(views, chosen[0], points)
    reach = round(float(views.Ks[chosen, 0, 0].max() / depth.min().clamp_min(0.1)) * coarse * 3**0.5 / 2)
    wide = F.max_pool2d(alphas, (2 * reach + 1, 1), 1, (reach, 0))
    points = _carved(views, chosen, F.max_pool2d(wide, (1, 2 * reach + 1), 1, (0, reach)), points)
    inner = (torch.arange(PER_CELL, device=views.device) + 0.5) * cell - coarse / 2
    points = (points[:, None] + torch.cartesian_prod(inner, inner, inner)).flatten(0, 1)
    points = _carved(views, chosen, alphas, points)
    at = ((points + BOX) / cell).long() + 1
    solid = torch.zeros(CELLS + 2, CELLS + 2, CELLS + 2, dtype=torch.bool, device=views.device)
    x, y, z = at.unbind(1)
    solid[x, y, z] = True
    sides = torch.stack([solid[x + i, y + j, z + k] for i, j, k in SIDES])
    points = points[~sides.all(0)]
    height, width = views.size
    total, count = torch.zeros_like(points), torch.zeros_like(points[:, :1])
    for i in chosen:
        at, depth = _project(views, i, points)
        column, row = at[:, 0].long().clamp(0, width - 1), at[:, 1].long().clamp(0, height - 1)
        block = row // 2 * width + column // 2  # of two by two pixels: the points have gaps
        nearest = depth.new_full((height * width,), torch.inf).scatter_reduce(0, block, depth, "amin")
        visible = (depth <= nearest[block] + 2 * cell).float()[:, None]
        total = total + visible * views.pixels[i, row, column, :3].float() / 255
        count = count + visible
    seen = (count[:, 0] > 0).nonzero()[:, 0].cpu()
    seen = seen[torch.randperm(len(seen), generator=generator)[:SAMPLES]]
    return Surface(points[seen].cpu(), (total[seen] / count[seen]).cpu())


def _carved(views: TrainingViews, chosen: list[int], alphas: Tensor, points: Tensor) -> Tensor:
    """The points [P, 3] that all silhouettes [V, 1, H, W] contain."""
    height, width = views.size
    for i, alpha in zip(chosen, alphas[:, 0], strict=True):
        at, _ = _project(views, i, points)
        column, row = at[:, 0].long().clamp(0, width - 1), at[:, 1].long().clamp(0, height - 1)
        points = points[alpha[row, column] > INSIDE]
    return points


def _project(views: TrainingViews, i: int, points: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels [P, 2] and depths [P] of points [P, 3] in a view."""
    viewmat, K = views.viewmats[i], views.Ks[i]
    seen = points @ viewmat[:3, :3].T + viewmat[:3, 3]
    return seen[:, :2] / seen[:, 2:].clamp_min(1e-6) * K[(0, 1), (0, 1)] + K[:2, 2], seen[:, 2]
