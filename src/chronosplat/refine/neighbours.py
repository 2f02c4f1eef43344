"""Neighbours in space and time move alike, which keeps a velocity from fitting a single view."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

COUNT = 6  # neighbours of a Gaussian
EVERY = 200  # evaluations between two neighbour searches
AT_ONCE = 4000  # Gaussians per evaluation
DISTANCES = 2**28  # at most per search; of large scenes only some Gaussians are then compared
TIME = 0.5  # distance in space that equals one unit of scene time


class Neighbours:
    """The nearest neighbours among Gaussians that are being optimised.

    Attributes:
        draws: random numbers on the CPU that choose the compared Gaussians.
    """

    def __init__(self, draws: torch.Generator) -> None:
        self.draws = draws
        self.evaluations = 0
        self.ones, self.others = torch.empty(0, dtype=torch.long), torch.empty(0, COUNT, dtype=torch.long)

    def find(self, means: Tensor, time_centers: Tensor) -> None:
        """Find the neighbours of all Gaussians [N], or of as many as DISTANCES allows."""
        with torch.no_grad():
            places = torch.cat([means, time_centers[:, None] * TIME], -1)
            size = len(places)
            most = max(AT_ONCE // 4, DISTANCES // size)
            every = torch.arange(size) if most >= size else torch.randperm(size, generator=self.draws)[:most]
            self.ones = every.to(places.device)
            near = min(COUNT + 1, size)
            found = [torch.cdist(places[some], places).topk(near, largest=False).indices[:, 1:] for some in self.ones.split(1024)]
            self.others = torch.cat(found)

    def unlike(self, fields: Mapping[str, Tensor]) -> Tensor:
        """Mean squared difference between the velocities of some Gaussians and those of their neighbours."""
        if self.evaluations % EVERY == 0:
            self.find(fields["means"], fields["time_centers"])
        self.evaluations += 1
        some = torch.randint(len(self.ones), (min(AT_ONCE, len(self.ones)),), generator=self.draws).to(self.ones.device)
        velocities = fields["velocities"]
        # index_select: its gradient is summed in order, that of indexing by all threads at once
        others = velocities.index_select(0, self.others[some].flatten()).unflatten(0, (len(some), -1))
        return (others - velocities.index_select(0, self.ones[some])[:, None]).square().sum(-1).mean()
