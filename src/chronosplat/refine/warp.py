"""A moving object as one set of Gaussians at rest, deformed to every time by control nodes, as rigidly as the views allow.

Embedded deformation (Sumner et al., SIGGRAPH 2007), as SC-GS (Huang et al., CVPR 2024) uses it for Gaussians, with the
rigidity of Sorkine and Alexa (SGP 2007).
"""

from __future__ import annotations

import torch
from torch import Tensor

from chronosplat.scenes.rotations import multiply, normalize, quats_to_matrices

NODES = 60
NODES_PER_GAUSSIAN = 4  # nodes that move a Gaussian
EDGES = 6  # neighbours in a node's rigidity term
CANDIDATES = 4000  # Gaussians among which nodes are chosen
TURN_WEIGHT = 0.1  # of rotation differences; that of shift differences is 1


class Warp:
    """Motion over M times: K nodes that shift and turn, and a translation of the whole.

    Attributes:
        nodes: [K, 3] at rest. spacing: mean distance of a node to the nearest other one.
        shifts, turns: [M, K, 3] of the nodes; a turn is the vector part of a quaternion whose scalar part is one.
        drifts: [M, 3].
    """

    def __init__(self, means: Tensor, times: int, generator: torch.Generator, count: int = NODES) -> None:
        candidates = means[torch.randperm(len(means), generator=generator)[:CANDIDATES].to(means.device)].detach()
        self.nodes = candidates[farthest_points(candidates, min(count, len(candidates)))]
        gaps = torch.cdist(self.nodes, self.nodes).fill_diagonal_(torch.inf)
        self.spacing = float(gaps.amin(1).mean())
        self.others = gaps.topk(min(EDGES, len(self.nodes) - 1), largest=False).indices
        self.edges = self.nodes[self.others] - self.nodes[:, None]
        self.shifts, self.turns = (torch.zeros(times, len(self.nodes), 3, device=means.device, requires_grad=True) for _ in range(2))
        self.drifts = torch.zeros(times, 3, device=means.device, requires_grad=True)

    def weights(self, means: Tensor) -> Tensor:
        """Skinning weights [N, K] of Gaussians with means [N, 3] at rest; rows sum to one."""
        gaps = torch.cdist(means.detach(), self.nodes)
        near = gaps.topk(min(NODES_PER_GAUSSIAN, len(self.nodes)), largest=False)
        falling = torch.exp(-((near.values / self.spacing) ** 2) / 2) + 1e-6
        return torch.zeros_like(gaps).scatter_(1, near.indices, falling / falling.sum(-1, keepdim=True))

    def at(self, times: Tensor, means: Tensor, quats: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Means [V, N, 3] and quaternions [V, N, 4] at V time indices, by linear blend skinning."""
        turns = self._quats(times)
        rotations = quats_to_matrices(turns)
        offsets = self.nodes + self.shifts[times] - (rotations @ self.nodes[:, :, None])[..., 0]
        blended = weights @ torch.cat([rotations.flatten(-2), offsets, turns], -1)
        moved = (blended[..., :9].unflatten(-1, (3, 3)) @ means[:, :, None])[..., 0] + blended[..., 9:12]
        return moved + self.drifts[times][:, None], multiply(normalize(blended[..., 12:]), quats)

    def bending(self, times: Tensor) -> Tensor:
        """As-rigid-as-possible energy at V time indices, relative to the nodes' spacing; 0 for any rigid motion."""
        turns = self._quats(times)
        shifts = self.shifts[times]
        edges = self.edges + shifts[:, self.others] - shifts[:, :, None]
        turned = (quats_to_matrices(turns)[:, :, None] @ self.edges[..., None])[..., 0]
        unlike = (turns[:, self.others] - turns[:, :, None]).square().sum(-1).mean()
        return (edges - turned).square().sum(-1).mean() / self.spacing**2 + TURN_WEIGHT * unlike

    def unsteadiness(self, first: int, last: int) -> Tensor:
        """Mean squared acceleration from one time index to another, relative to the nodes' spacing; 0 for even motion."""
        first, last = max(first, 0), min(last, len(self.drifts) - 1)
        if last - first < 2:
            return self.drifts.new_zeros(())

        def acceleration(x: Tensor) -> Tensor:
            window = x[first : last + 1]
            return (window[2:] - 2 * window[1:-1] + window[:-2]).square().sum(-1).mean()

        return (acceleration(self.shifts) + acceleration(self.drifts)) / self.spacing**2 + TURN_WEIGHT * acceleration(self.turns)

    def carry(self, start: int, to: int) -> None:
        """Copy the motion of one time index to another."""
        with torch.no_grad():
            for motion in (self.shifts, self.turns, self.drifts):
                motion[to] = motion[start]

    def _quats(self, times: Tensor) -> Tensor:
        turns = self.turns[times]
        return normalize(torch.cat([torch.ones_like(turns[..., :1]), turns], -1))


def farthest_points(points: Tensor, count: int) -> Tensor:
    """Farthest point sampling: indices [count] of points [P, 3], beginning with the first."""
    chosen = [0]
    gaps = (points - points[0]).norm(dim=-1)
    while len(chosen) < count:
        chosen.append(int(gaps.argmax()))
        gaps = torch.minimum(gaps, (points - points[chosen[-1]]).norm(dim=-1))
    return torch.tensor(chosen, device=points.device)
