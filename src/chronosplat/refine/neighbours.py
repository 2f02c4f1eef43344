"""Neighbours in space and time move alike: what keeps a velocity from fitting one picture alone."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

COUNT = 6  # neighbours of a Gaussian
EVERY = 200  # looks after which neighbours are found anew
AT_ONCE = 4000  # Gaussians in a look
DISTANCES = 2**28  # at most, each time neighbours are found; of large clouds only some Gaussians are then compared
TIME = 0.5  # a scene time of one is as far as this distance


class Neighbours:
    """Who is near whom in a cloud that is being optimised.

    Attributes:
        draws: random numbers on the CPU, which choose the Gaussians that are compared.
    """

    def __init__(self, draws: torch.Generator) -> None:
        self.draws = draws
        self.looks = 0
        self.ones, self.others = torch.empty(0, dtype=torch.long), torch.empty(0, COUNT, dtype=torch.long)

    def find(self, means: Tensor, time_centers: Tensor) -> None:
        """Find the neighbours of Gaussians [N] anew: of all, or of as many as may be looked at."""
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
        if self.looks % EVERY == 0:
            self.find(fields["means"], fields["time_centers"])
        self.looks += 1
        some = torch.randint(len(self.ones), (min(AT_ONCE, len(self.ones)),), generator=self.draws).to(self.ones.device)
        velocities = fields["velocities"]
        return (velocities[self.others[some]] - velocities[self.ones[some]][:, None]).square().sum(-1).mean()
