"""Coarse registration of a body to an image: nearest points in position and colour, as rigid as possible.

Iterative closest points (Besl and McKay, 1992), non-rigid: each round pairs surface points with pixels of similar colour, both
ways, and solves a linear system for the nodes (Sorkine and Alexa, SGP 2007). It finds swings of many pixels, where the gradient
of a rendering sees nothing. Motion stays in the image plane.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from chronosplat.refine.solid.grids import blur
from chronosplat.refine.solid.motion import Body, Pose, deform

SAMPLES = 1200  # points and pixels that are paired
SIGMAS = (1.0, 3.0)  # pixels: blurs of the colours that are compared
COLOR = 30.0  # pixels that a colour difference of one counts as
AT_ONCE = 64  # poses that are compared
FAR = 12.0  # pixels: pairs farther apart count little


@dataclass(frozen=True)
class Colored:
    """Q pixels of a frame's silhouette: positions [Q, 2] relative to the principal point, and features [Q, D] in pixels."""

    at: Tensor
    features: Tensor


def describe(image: Tensor, alpha: Tensor) -> Tensor:
    """Features [H, W, D] of a frame: its colours [H, W, 3] at several scales on gray, and its blurred alpha [H, W]."""
    mask = torch.ones_like(alpha)
    flat = torch.cat([image * alpha[..., None] + 0.5 * (1 - alpha[..., None]), alpha[..., None]], -1)
    return torch.cat([blur(flat, mask, sigma) for sigma in SIGMAS], -1) * COLOR / len(SIGMAS) ** 0.5


def register(
    body: Body, chosen: Tensor, features: Tensor, focal: float, target: Colored, pose: Pose, rounds: int, stiffness: tuple[float, float]
) -> tuple[Pose, float]:
    """Move a pose [1, K, 3] to fit a frame.

    Args:
        chosen: [P] int64, the body's points to pair. features: [P, D] theirs in the rest frame.
        stiffness: of the body in the first and the last round, in pairs per node.

    Returns:
        The pose, and the mean robust cost of a pair, in [0, 1].
    """
    weights, points = body.weights[body.columns[chosen]], body.points[chosen]
    toward = 1 + points[:, 2:] / focal  # a pixel's extent at the point's depth
    nodes, rest = body.nodes[:, :2] + pose.shifts[0, :, :2], body.nodes[:, :2]
    angles = pose.turns[0, :, 2]
    edges = body.edges[..., :2]
    laplacian = _laplacian(body)
    cost = 1.0
    for k in range(rounds):
        c, s = torch.cos(angles), torch.sin(angles)
        turned = _turned(weights, points[:, :2], rest, c, s)
        now = turned + weights @ nodes
        gaps = torch.cdist(torch.cat([now / toward, features], -1), torch.cat([target.at, target.features], -1))
        here, there = gaps.min(1), gaps.min(0)
        near, far = _robust(here.values), _robust(there.values)
        cost = float(1 - (near.sum() + far.sum()) / (len(near) + len(far)))
        confidence = near.index_add(0, there.indices, far)
        wanted = near[:, None] * target.at[here.indices]
        wanted = wanted.index_add(0, there.indices, far[:, None] * target.at)
        pulled = wanted * toward - confidence[:, None] * turned
        share = k / max(rounds - 1, 1)
        rigid = stiffness[0] ** (1 - share) * stiffness[1] ** share
        system = rigid * laplacian + weights.T @ (confidence[:, None] * weights) + 1e-3 * torch.eye(len(nodes))
        factor = torch.linalg.cholesky(system)
        for _ in range(2):
            nodes = torch.cholesky_solve(rigid * _edge_pull(body, edges, angles) + weights.T @ pulled + 1e-3 * nodes, factor)
            angles = _angles(body, edges, nodes, angles)
    shifts, turns = pose.shifts.clone(), pose.turns.clone()
    shifts[0, :, :2], turns[0, :, 2] = nodes - rest, angles
    return Pose(shifts, turns), cost


def mismatches(body: Body, chosen: Tensor, features: Tensor, focal: float, target: Colored, pose: Pose) -> Tensor:
    """The mean robust cost [V] of a pair, as of :func:`register`, in poses [V, K, 3] as they are."""
    columns = body.columns[chosen]
    few = replace(body, points=body.points[chosen], weights=body.weights[columns], columns=torch.arange(len(chosen)))
    found, unlike = [], torch.cdist(features, target.features).square()
    for k in range(0, len(pose.shifts), AT_ONCE):
        moved = deform(few, pose[k : k + AT_ONCE])
        now = moved[..., :2] / (1 + moved[..., 2:] / focal)
        gaps = (torch.cdist(now, target.at.expand(len(now), -1, -1)).square() + unlike).sqrt()
        pairs = torch.cat([gaps.amin(1), gaps.amin(2)], 1)
        found.append(1 - _robust(pairs).mean(1))
    return torch.cat(found)


def _robust(gaps: Tensor) -> Tensor:
    return (1 + (gaps / FAR).square()).square().reciprocal()


def _turned(weights: Tensor, points: Tensor, nodes: Tensor, c: Tensor, s: Tensor) -> Tensor:
    """[P, 2] where the nodes' rotations take points, relative to where they take the nodes."""
    moved = torch.stack([c * nodes[:, 0] - s * nodes[:, 1], s * nodes[:, 0] + c * nodes[:, 1]], -1)
    blended = weights @ torch.cat([c[:, None], s[:, None], moved], -1)
    cosine, sine = blended[:, 0], blended[:, 1]
    x, y = points.unbind(-1)
    return torch.stack([cosine * x - sine * y, sine * x + cosine * y], -1) - blended[:, 2:]


def _laplacian(body: Body) -> Tensor:
    """[K, K] of the squared differences between the nodes' edges and others."""
    count = len(body.nodes)
    matrix = torch.zeros(count, count)
    i = torch.arange(count)[:, None].expand_as(body.others)
    for a, b, sign in ((i, i, 1), (body.others, body.others, 1), (i, body.others, -1), (body.others, i, -1)):
        matrix.index_put_((a.flatten(), b.flatten()), sign * body.links.flatten(), accumulate=True)
    return matrix


def _edge_pull(body: Body, edges: Tensor, angles: Tensor) -> Tensor:
    """[K, 2] the right-hand side that keeps edges as they are, turned with their node."""
    c, s = torch.cos(angles)[:, None], torch.sin(angles)[:, None]
    turned = torch.stack([c * edges[..., 0] - s * edges[..., 1], s * edges[..., 0] + c * edges[..., 1]], -1) * body.links[..., None]
    pull = -turned.sum(1)
    return pull.index_add(0, body.others.flatten(), turned.flatten(0, 1))


def _angles(body: Body, edges: Tensor, nodes: Tensor, before: Tensor) -> Tensor:
    """[K] the rotation that best maps each node's edges to where they are, nearest to the angle before."""
    now = (nodes[body.others] - nodes[:, None]) * body.links[..., None]
    cross = (edges[..., 0] * now[..., 1] - edges[..., 1] * now[..., 0]).sum(1)
    dot = (edges * now).sum((1, 2))
    found = torch.atan2(cross, dot)
    found = torch.where(cross.square() + dot.square() > 1e-12, found, before)
    full = 2 * torch.pi
    return found + full * ((before - found) / full).round()
