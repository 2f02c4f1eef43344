"""Motion that is being optimised: control nodes with smooth trajectories, coarse to fine in time.

Embedded deformation (Sumner et al., SIGGRAPH 2007) with the as-rigid-as-possible energy of Sorkine and Alexa (SGP 2007).
A trajectory is a sum of cosines in time (DCT), of which low frequencies come first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from chronosplat.scenes.deformable import spline_rows

EDGES = 6  # neighbours in a node's rigidity term
KNOTS_PER_FREQUENCY = 6  # of the written splines
CANDIDATES = 4000  # Gaussians among which nodes are chosen
TURN_WEIGHT = 0.1  # of rotation differences; that of shift differences is 1


@dataclass(frozen=True)
class MotionConfig:
    """Control nodes and their trajectories; docs/results.md, "Deformable scenes".

    Attributes:
        nodes: number of control nodes K.
        nearest: nodes J that move a Gaussian.
        frequencies: cosines of a trajectory; at most one less than there are timestamps.
        decay: frequency f is scaled by (1 + f)^-decay, which makes slow motion cheap.
        local: scale of a pose that every timestamp has of its own, beside the cosines; 0: none.
    """

    nodes: int = 100
    nearest: int = 4
    frequencies: int = 10
    decay: float = 0.5
    local: float = 0.0


class Motion:
    """Trajectories of K nodes: rotation and translation relative to a rest time.

    Attributes:
        nodes: [K, 3] at rest. spacing: mean distance of a node to the nearest other one.
        shift, turn: [D, K, 3] coefficients of the cosines, and of the timestamps' own poses, to be optimised.
        openness: fraction of the frequencies that take part.

    Args:
        means: [N, 3] canonical, among which the nodes are placed.
        stamps: [M] the distinct timestamps in seconds, rising; a single one has no motion. rest: second at which the cosines move nothing.
        generator: random numbers on the CPU.
    """

    def __init__(
        self,
        means: Tensor,
        stamps: Tensor,
        rest: float,
        config: MotionConfig,
        generator: torch.Generator,
    ) -> None:
        self.config, self.stamps, self.rest = config, stamps, rest
        self.span = float(stamps[0]), float(stamps[-1])
        candidates = means[torch.randperm(len(means), generator=generator)[:CANDIDATES].to(means.device)].detach()
        self.nodes = candidates[farthest_points(candidates, min(config.nodes, len(candidates)))].clone()
        gaps = torch.cdist(self.nodes, self.nodes).fill_diagonal_(torch.inf)
        self.spacing = float(gaps.amin(1).mean()) if len(self.nodes) > 1 else 1.0
        self.others = gaps.topk(min(EDGES, len(self.nodes) - 1), largest=False).indices
        self.edges = self.nodes[self.others] - self.nodes[:, None]
        frequencies = min(config.frequencies, len(stamps) - 1)
        keys = len(stamps) if config.local > 0 and frequencies else 0
        self.scale = (1.0 + torch.arange(frequencies, device=means.device)) ** -config.decay
        self.shift, self.turn = (torch.zeros(frequencies + keys, len(self.nodes), 3, device=means.device) for _ in range(2))
        self.openness = 1.0
        self.at_rest = self._basis(stamps.new_tensor([rest]))
        self.at_rest[:, frequencies:] = 0  # the rest time has a pose of its own, too: else a few views alone would correct its shape
        self.at_stamps = self._basis(stamps) - self.at_rest
        self.bends = self.at_stamps[2:] - 2 * self.at_stamps[1:-1] + self.at_stamps[:-2]

    def skinning(self, means: Tensor) -> tuple[Tensor, Tensor]:
        """Nearest nodes [N, J] and their weights [N, J] for Gaussians with canonical means [N, 3]; rows sum to one."""
        near = torch.cdist(means.detach(), self.nodes).topk(min(self.config.nearest, len(self.nodes)), largest=False)
        falling = torch.exp(-((near.values / self.spacing) ** 2) / 2) + 1e-6
        return near.indices, falling / falling.sum(-1, keepdim=True)

    def pose(self, shifts: Tensor, turns: Tensor) -> None:
        """Begin at poses [M, K, 3] of all timestamps; see :meth:`at`."""
        keys = slice(len(self.scale), None)
        self.shift[keys], self.turn[keys] = shifts / self.config.local, turns / self.config.local

    def knots(self) -> Tensor:
        """Seconds between which splines keep the motion: exactly at timestamps, the fastest cosine to about one percent."""
        if len(self.scale) == 0:
            return self.stamps[:1].double()
        parts = max(1, math.ceil(KNOTS_PER_FREQUENCY * len(self.scale) / (len(self.stamps) - 1)))
        stamps = self.stamps.double()
        between = torch.arange(parts, device=stamps.device) / parts
        return torch.cat([(stamps[:-1, None] + stamps.diff()[:, None] * between).flatten(), stamps[-1:]])

    def at(self, times: Tensor) -> tuple[Tensor, Tensor]:
        """Shifts and rotation vectors [V, K, 3] at V seconds; at rest, the cosines are zero."""
        return self._moved(self._basis(times) - self.at_rest)

    def at_stamp(self, which: Tensor) -> tuple[Tensor, Tensor]:
        """The same at the timestamps with these indices [V], for which the basis is at hand."""
        return self._moved(self.at_stamps[which])

    def bending(self, shifts: Tensor, turns: Tensor) -> Tensor:
        """As-rigid-as-possible energy, relative to the nodes' spacing; 0 for any rigid motion."""
        poses = torch.cat([shifts, turns], -1)
        moved, unlike = (poses[:, self.others] - poses[:, :, None]).split(3, -1)
        bent = moved - displacement(turns[:, :, None], self.edges)
        return bent.square().sum(-1).mean() / self.spacing**2 + TURN_WEIGHT / 4 * unlike.square().sum(-1).mean()

    def unsteadiness(self) -> Tensor:
        """Mean squared second difference over the timestamps, relative to the nodes' spacing; 0 for even motion."""
        if len(self.bends) == 0:
            return self.shift.new_zeros(())
        shifts, turns = self._moved(self.bends)
        return shifts.square().sum(-1).mean() / self.spacing**2 + TURN_WEIGHT / 4 * turns.square().sum(-1).mean()

    def _moved(self, basis: Tensor) -> tuple[Tensor, Tensor]:
        opened = (self.openness * len(self.scale) - torch.arange(basis.shape[1], device=basis.device)).clamp(0, 1)
        opened[len(self.scale) :] = 1
        shifts, turns = torch.einsum("vd,dkc->vkc", basis * opened, torch.cat([self.shift, self.turn], -1)).split(3, -1)
        return shifts, turns

    def _basis(self, times: Tensor) -> Tensor:
        """What the coefficients are multiplied by [V, D] when all frequencies take part."""
        first, last = self.span
        phase = math.pi * (times - first) / max(last - first, 1e-9)
        cosines = torch.cos(phase[:, None] * torch.arange(1, len(self.scale) + 1, device=times.device)) * self.scale
        own = len(self.shift) > len(self.scale)
        return torch.cat([cosines, self.config.local * spline_rows(self.stamps, times)], 1) if own else cosines


def displacement(turns: Tensor, vectors: Tensor) -> Tensor:
    """By how much rotation vectors [..., 3] displace vectors [..., 3] (Rodrigues); differentiable at zero."""
    square = turns.square().sum(-1, keepdim=True)
    small = square < 1e-8
    angle = torch.where(small, torch.ones_like(square), square).sqrt()
    sine = torch.where(small, 1 - square / 6, torch.sin(angle) / angle)
    versine = torch.where(small, 0.5 - square / 24, (1 - torch.cos(angle)) / angle.square())
    turns, vectors = torch.broadcast_tensors(turns, vectors)
    across = torch.linalg.cross(turns, vectors)
    return sine * across + versine * torch.linalg.cross(turns, across)


def farthest_points(points: Tensor, count: int) -> Tensor:
    """Farthest point sampling: indices [count] of points [P, 3], beginning with the first."""
    chosen = [0]
    gaps = (points - points[0]).norm(dim=-1)
    while len(chosen) < count:
        chosen.append(int(gaps.argmax()))
        gaps = torch.minimum(gaps, (points - points[chosen[-1]]).norm(dim=-1))
    return torch.tensor(chosen, device=points.device)
