"""Limbs of a body, and swings of theirs that registration does not find: it is pulled to the nearest points, and an arm that was
raised at once folds into the torso instead."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from chronosplat.refine.solid.motion import Body, Pose

CUTS = (0.75, 0.55, 0.4)  # of a tip's distance from the middle: where limbs may begin
LARGEST, SMALLEST = 0.3, 2  # a limb's share of the nodes, and their number
ANGLES = tuple(torch.pi * i / 180 for i in (-150, -120, -90, -65, -40, -20, 20, 40, 65, 90, 120, 150))


@dataclass(frozen=True)
class Limb:
    """Nodes that swing together.

    Attributes:
        members: [K] bool. hinge: [H] int64, those next to the rest of the body.
    """

    members: Tensor
    hinge: Tensor


def find_limbs(body: Body) -> list[Limb]:
    """Find parts that stick out: nodes beyond some distance from the middle, measured inside the silhouette."""
    ways = _ways(body)
    finite = torch.where(ways.isfinite(), ways, ways[ways.isfinite()].max())
    far = ways[finite.sum(1).argmin()]
    linked = torch.zeros_like(ways, dtype=torch.bool).scatter_(1, body.others, body.links > 0)
    linked |= linked.T.clone()
    reached = far.isfinite()
    near = (ways < 2.5 * body.spacing) & reached
    tips = (reached & (far >= torch.where(near, far, -1.0).amax(1))).nonzero()[:, 0].tolist()
    limbs: list[Limb] = []
    for tip in tips:
        for cut in CUTS:
            members = _component(linked, far.isfinite() & (far > cut * far[tip]), tip)
            count = int(members.sum())
            hinge = (members & (linked & ~members).any(1)).nonzero()[:, 0]
            known = any(bool((limb.members == members).all()) for limb in limbs)
            if SMALLEST <= count <= LARGEST * len(members) and len(hinge) and not known:
                limbs.append(Limb(members, hinge))
    return limbs


def swings(body: Body, pose: Pose, limbs: list[Limb]) -> Pose:
    """Turn each limb of a pose [1, K, 3] around its hinge in the image plane, by each of ANGLES: [V, K, 3]."""
    here = body.nodes + pose.shifts[0]
    angles = torch.tensor(ANGLES)
    c, s = torch.cos(angles)[:, None], torch.sin(angles)[:, None]
    shifts, turns = [], []
    for limb in limbs:
        pivot = here[limb.hinge].mean(0)
        x, y, _ = (here - pivot).unbind(-1)
        moved = torch.stack([c * x - s * y + pivot[0], s * x + c * y + pivot[1], here[:, 2].expand(len(angles), -1)], -1)
        shifts.append(torch.where(limb.members[:, None], moved - body.nodes, pose.shifts))
        turned = torch.nn.functional.pad(angles[:, None, None], (2, 0))
        turns.append(pose.turns + limb.members[:, None] * turned)
    return Pose(torch.cat(shifts), torch.cat(turns))


def _ways(body: Body) -> Tensor:
    """Lengths [K, K] of the shortest ways along linked nodes (Floyd and Warshall); infinite between parts."""
    count = len(body.nodes)
    ways = torch.full((count, count), torch.inf)
    lengths = torch.where(body.links > 0, body.edges.norm(dim=-1), torch.inf)
    ways.scatter_(1, body.others, lengths)
    ways = torch.minimum(ways, ways.T).fill_diagonal_(0)
    for k in range(count):
        ways = torch.minimum(ways, ways[:, k, None] + ways[None, k])
    return ways


def _component(linked: Tensor, allowed: Tensor, start: int) -> Tensor:
    """The nodes [K], bool, that are reached from one through allowed ones."""
    members = torch.zeros_like(allowed)
    members[start] = True
    while True:
        grown = (members | linked[members].any(0)) & allowed
        if torch.equal(grown, members):
            return members
        members = grown
