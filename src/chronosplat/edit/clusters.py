"""Clusters of points: cells of a grid that touch."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

REACH = 1 << 20  # cells along an edge at most, from the centre


def cluster_shares(points: Tensor, weights: Tensor, side: float) -> Tensor:
    """Return for each point the share of all weight that its cluster holds.

    Args:
        points: [N, 3]. weights: [N], at least 0.
        side: edge of a grid cell; points whose cells touch, also at a corner, are in one cluster.

    Returns:
        [N] in [0, 1].
    """
    middle = points.median(0).values
    cells = ((points - middle).double() / side).floor().clamp(-REACH, REACH - 1).long() + REACH
    key = lambda c: (c[:, 0] << 42) + (c[:, 1] << 21) + c[:, 2]
    keys, cell = torch.unique(key(cells), return_inverse=True)
    places = torch.stack([keys >> 42, (keys >> 21) & (2 * REACH - 1), keys & (2 * REACH - 1)], 1)
    pairs = []
    for offset in list(product((-1, 0, 1), repeat=3))[14:]:  # one of each two opposite neighbours
        wanted = key(places + places.new_tensor(offset))
        found = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
        there = keys[found] == wanted
        pairs.append(torch.stack([torch.nonzero(there)[:, 0], found[there]]))
    labels = _components(len(keys), torch.cat(pairs, 1))
    mass = torch.zeros(len(keys), dtype=torch.float64, device=points.device).index_add(0, labels[cell], weights.double())
    return (mass[labels[cell]] / mass.sum().clamp_min(1e-30)).to(weights)


def _components(count: int, pairs: Tensor) -> Tensor:
    """The least index [count] that each node is connected with through pairs [2, P]."""
    labels = torch.arange(count, device=pairs.device)
    while True:
        least = torch.minimum(labels[pairs[0]], labels[pairs[1]])
        smaller = labels.scatter_reduce(0, torch.cat([labels[pairs[0]], labels[pairs[1]]]), least.repeat(2), "amin")
        smaller = smaller[smaller]
        if torch.equal(smaller, labels):
            return labels
        labels = smaller
