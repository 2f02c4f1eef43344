"""Velocity smoothness over neighbours in space and time, which keeps a velocity from fitting a single view."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

COUNT = 6  # neighbours of a Gaussian
EVERY = 200  # evaluations between two neighbour searches
SAMPLES = 4000  # Gaussians per evaluation
MAX_DISTANCES = 2**28  # at most per search; of large scenes only some Gaussians are then compared
TIME = 0.5  # distance in space that equals one unit of scene time


class Neighbours:
    """The nearest neighbours among Gaussians that are being optimised.

    Attributes:
        generator: random numbers on the CPU that choose the compared Gaussians.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator
        self.evaluations = 0
        self.indices, self.neighbours = torch.empty(0, dtype=torch.long), torch.empty(0, COUNT, dtype=torch.long)

    def find(self, means: Tensor, time_centers: Tensor) -> None:
        """Find the neighbours of all Gaussians [N], or of as many as MAX_DISTANCES allows."""
        with torch.no_grad():
            points = torch.cat([means, time_centers[:, None] * TIME], -1)
            size = len(points)
            limit = max(SAMPLES // 4, MAX_DISTANCES // size)
            indices = torch.arange(size) if limit >= size else torch.randperm(size, generator=self.generator)[:limit]
            self.indices = indices.to(points.device)
            near = min(COUNT + 1, size)
            found = [torch.cdist(points[part], points).topk(near, largest=False).indices[:, 1:] for part in self.indices.split(1024)]
            self.neighbours = torch.cat(found)

    def velocity_differences(self, fields: Mapping[str, Tensor]) -> Tensor:
        """Mean squared difference between the velocities of some Gaussians and those of their neighbours."""
        if self.evaluations % EVERY == 0:
            self.find(fields["means"], fields["time_centers"])
        self.evaluations += 1
        sampled = torch.randint(len(self.indices), (min(SAMPLES, len(self.indices)),), generator=self.generator).to(self.indices.device)
        velocities = fields["velocities"]
        # index_select: its gradient is summed in order, that of indexing by all threads at once
        others = velocities.index_select(0, self.neighbours[sampled].flatten()).unflatten(0, (len(sampled), -1))
        return (others - velocities.index_select(0, self.indices[sampled])[:, None]).square().sum(-1).mean()
