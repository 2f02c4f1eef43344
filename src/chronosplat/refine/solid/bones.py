"""Control nodes of a silhouette, and which of them move a pixel: by distances inside it, so that a hand beside the hip is not
moved by the hip."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

NODES_PER_PIXEL = 4
EDGES = 6  # neighbours in a node's rigidity term
REACH = 4.0  # node spacings within which nodes are connected, and searched for
STRAIGHT = ((1, 0, 1.0), (0, 1, 1.0), (1, 1, 2**0.5), (1, -1, 2**0.5))  # steps between pixels and their lengths


@dataclass(frozen=True)
class Bones:
    """K nodes among the P pixels of a silhouette.

    Attributes:
        at: [K] int64, pixel numbers. spacing: pixels between neighbours, mean.
        others: [K, E] int64 nearest nodes. links: [K, E] 1 where they are connected, 0 elsewhere.
        skin_nodes: [P, J] int64 nodes that move a pixel. skin_weights: [P, J], rows sum to one.
    """

    at: Tensor
    spacing: float
    others: Tensor
    links: Tensor
    skin_nodes: Tensor
    skin_weights: Tensor


def build_bones(pixels: Tensor, count: int) -> Bones:
    """Spread ``count`` nodes (at most one per pixel) over the pixels [P, 2] of a silhouette, x and y."""
    at = farthest(pixels.float(), min(count, len(pixels)))
    estimate = (len(pixels) / len(at)) ** 0.5
    gaps = geodesic(pixels, at, 2 * REACH * estimate)  # [P, K]
    near = gaps.topk(min(NODES_PER_PIXEL, len(at)), largest=False)
    between = gaps[at].clone().fill_diagonal_(torch.inf)
    nearest = between.amin(1)
    spacing = float(nearest[nearest < 1e3].mean()) if bool((nearest < 1e3).any()) else estimate
    neighbours = between.topk(min(EDGES, max(len(at) - 1, 0)), largest=False)
    links = (neighbours.values < REACH * spacing).float()
    weights = torch.exp(-((near.values / spacing) ** 2) / 2) + 1e-6 / (1 + near.values)
    weights = torch.where(near.values < 1e3, weights, 1e-12)
    return Bones(at, spacing, neighbours.indices, links, near.indices, weights / weights.sum(-1, keepdim=True))


def farthest(points: Tensor, count: int) -> Tensor:
    """Farthest point sampling: indices [count] of points [P, D], beginning with the one nearest to their mean."""
    chosen = [int((points - points.mean(0)).square().sum(-1).argmin())]
    gaps = (points - points[chosen[0]]).square().sum(-1)
    while len(chosen) < count:
        chosen.append(int(gaps.argmax()))
        gaps = torch.minimum(gaps, (points - points[chosen[-1]]).square().sum(-1))
    return torch.tensor(chosen)


def geodesic(pixels: Tensor, at: Tensor, reach: float) -> Tensor:
    """Lengths [P, K] of the shortest ways from K pixels to all P inside a silhouette, over its 8-connected pixels.

    Ways longer than about ``reach`` pixels are not followed: such distances are 1e3 plus the straight one.

    Args:
        pixels: [P, 2] x and y of the silhouette, int64. at: [K] their numbers.
    """
    count = len(pixels)
    x, y = (pixels - pixels.amin(0) + 1).unbind(1)
    numbers = torch.full((int(y.max()) + 2, int(x.max()) + 2), count)
    numbers[y, x] = torch.arange(count)
    sides = [(numbers[y + s * dy, x + s * dx], length) for dx, dy, length in STRAIGHT for s in (-1, 1)]
    gaps = torch.full((count + 1, len(at)), torch.inf)  # one row more: the outside
    gaps[at, torch.arange(len(at))] = 0
    for _ in range(int(reach) + 1):
        best = gaps[:-1]
        for neighbours, length in sides:
            best = torch.minimum(best, gaps[neighbours] + length)
        if torch.equal(best, gaps[:-1]):
            break
        gaps[:-1] = best
    straight = torch.cdist(pixels.float(), pixels[at].float())
    return torch.where(gaps[:-1] < torch.inf, gaps[:-1], 1e3 + straight)
