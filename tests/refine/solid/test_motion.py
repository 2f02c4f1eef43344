"""Rigid motion costs nothing; columns move as linear blend skinning moves their points."""

from __future__ import annotations

import torch

from chronosplat.refine.solid.body import build_body, enlarge
from chronosplat.refine.solid.frames import read_frames
from chronosplat.refine.solid.motion import Body, Pose, acceleration, bending, deform, leaving_plane
from chronosplat.scenes.deformable import rotation_quats, skin
from chronosplat.scenes.rotations import quats_to_matrices
from tests.refine.solid.kit import sliding_bar


def body() -> Body:
    return build_body(read_frames(sliding_bar(1)), 0, 12)


def random_pose(body: Body, count: int = 3) -> Pose:
    g = torch.Generator().manual_seed(1)
    return Pose(torch.randn(count, len(body.nodes), 3, generator=g), 0.3 * torch.randn(count, len(body.nodes), 3, generator=g))


def test_deform_is_skinning() -> None:
    """Values and gradients of its twin."""
    it = body()
    found = []
    for twin in (False, True):
        pose = random_pose(it)
        pose = Pose(pose.shifts.requires_grad_(), pose.turns.requires_grad_())
        if twin:
            near = it.weights[it.columns].topk(4, -1)
            weights = near.values / near.values.sum(-1, keepdim=True)
            quats = torch.tensor([1.0, 0, 0, 0]).expand(len(it.points), 4)
            means, _ = skin(it.points, quats, near.indices, weights, it.nodes, pose.shifts, pose.turns)
        else:
            means = deform(it, pose)
        (means * torch.linspace(0, 1, means.numel()).view_as(means)).sum().backward()
        found.append((means.detach(), pose.shifts.grad, pose.turns.grad))
    for fast, slow in zip(*found, strict=True):
        torch.testing.assert_close(fast, slow, atol=1e-3, rtol=1e-3)
    some = torch.tensor([5, 0, 9])
    torch.testing.assert_close(deform(it, random_pose(it), some), deform(it, random_pose(it))[:, some])


def test_a_rigid_motion_bends_nothing() -> None:
    it = body()
    turn = torch.tensor([0.1, -0.2, 0.9]).expand(1, len(it.nodes), 3)
    rotation = quats_to_matrices(rotation_quats(turn))[0, 0]
    pose = Pose(it.nodes @ rotation.T + torch.tensor([3.0, 1.0, -2.0]) - it.nodes, turn)
    assert float(bending(it, Pose(pose.shifts[None], turn))) < 1e-8
    assert float(bending(it, random_pose(it))) > 1e-2


def test_leaving_the_plane_costs_and_moving_in_it_does_not() -> None:
    it = body()
    zero = torch.zeros(1, len(it.nodes), 3)
    inside, out = torch.tensor([2.0, 3.0, 0.0]), torch.tensor([0.0, 0.0, 2.0])
    assert float(leaving_plane(it, Pose(zero + inside, zero + torch.tensor([0, 0, 0.5])))) == 0
    assert float(leaving_plane(it, Pose(zero + out, zero))) > 0
    assert float(leaving_plane(it, Pose(zero, zero + torch.tensor([0.5, 0, 0])))) > 0


def test_even_motion_has_no_acceleration() -> None:
    it = body()
    once = random_pose(it, 1)
    steps = torch.arange(5.0)[:, None, None]
    assert float(acceleration(it, Pose(steps * once.shifts, steps * once.turns))) < 1e-9
    assert float(acceleration(it, random_pose(it, 5))) > 0.1
    assert float(acceleration(it, random_pose(it, 2))) == 0


def test_a_larger_body_has_the_same_motion() -> None:
    """Tracked small, fitted large: a pose moves both alike."""
    frames = read_frames(sliding_bar(1))
    small = frames.resized(24, 24)
    coarse = build_body(small, 0, 10)
    fine, _ = enlarge(coarse, frames, 0, 2.0)
    assert len(fine.pixels) > 3 * len(coarse.pixels)
    pose = random_pose(coarse, 1)
    moved = [deform(coarse, pose)[0] * 2, deform(fine, Pose(pose.shifts * 2, pose.turns))[0]]
    nearest = torch.cdist(fine.points, coarse.points * 2).argmin(1)
    assert float((moved[1] - moved[0][nearest]).norm(dim=-1).median()) < 2.5
    assert abs(float(bending(coarse, pose)) - float(bending(fine, Pose(pose.shifts * 2, pose.turns)))) < 1e-4
