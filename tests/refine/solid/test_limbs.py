"""Limbs stick out and swing about their hinge; a swing that registration misses is found."""

from __future__ import annotations

import math

import torch

from chronosplat.events import Events
from chronosplat.refine.solid.body import build_body
from chronosplat.refine.solid.follow import Follower
from chronosplat.refine.solid.frames import read_frames
from chronosplat.refine.solid.limbs import ANGLES, find_limbs, swings
from chronosplat.refine.solid.motion import Pose
from tests.refine.solid.kit import disc, grid, video

RED, BLUE = torch.tensor([0.8, 0.2, 0.1]), torch.tensor([0.1, 0.2, 0.8])


def armed(angle: float) -> tuple[torch.Tensor, torch.Tensor]:
    """A red disc with a blue arm from its rim, at an angle: alpha [64, 64] and colours."""
    x, y = grid(64)
    c, s = math.cos(angle), math.sin(angle)
    along, across = c * (x - 32) + s * (y - 32), -s * (x - 32) + c * (y - 32)
    arm = (along > 0) & (along < 28) & (across.abs() < 3.5)
    torso = disc(32, 32, 11, 64)
    return (arm | torso).float(), torch.where((arm & ~torso)[..., None], BLUE, RED)


def test_an_arm_is_a_limb_and_a_disc_has_none() -> None:
    body = build_body(read_frames(video([armed(0.0)])), 0, 60)
    limbs = find_limbs(body)
    outer = body.nodes[:, 0] > 17
    assert any(bool((limb.members[outer]).all()) and float(body.nodes[limb.members, 0].min()) > 4 for limb in limbs)
    whole = build_body(read_frames(video([(disc(24, 24, 14).float(), RED.expand(48, 48, 3))])), 0, 40)
    assert all(float(limb.members.float().mean()) <= 0.3 for limb in find_limbs(whole))


def test_a_swing_is_rigid_and_leaves_the_rest() -> None:
    body = build_body(read_frames(video([armed(0.3)])), 0, 60)
    limb = max(find_limbs(body), key=lambda limb: int(limb.members.sum()))
    still = Pose(torch.zeros(1, len(body.nodes), 3), torch.zeros(1, len(body.nodes), 3))
    turned = swings(body, still, [limb])
    assert turned.shifts.shape == (len(ANGLES), len(body.nodes), 3)
    assert float(turned.shifts[:, ~limb.members].abs().max()) == 0
    before, after = body.nodes[limb.members], (body.nodes + turned.shifts)[:, limb.members]
    torch.testing.assert_close(torch.cdist(after, after), torch.cdist(before, before).expand(len(ANGLES), -1, -1), atol=1e-2, rtol=0)
    torch.testing.assert_close(turned.turns[:, limb.members, 2], torch.tensor(ANGLES)[:, None].expand(-1, int(limb.members.sum())))


def test_an_arm_that_swings_far_is_found() -> None:
    frames = read_frames(video([armed(0.0), armed(math.radians(115))]))
    body = build_body(frames, 0, 60)
    swung, folded = Follower(frames, body, 0, 12, 10), Follower(frames, body, 0, 12, 10)
    folded.limbs = []
    found, plain = swung.run(Events()), folded.run(Events())
    assert found.errors[1] < 0.5 * plain.errors[1]
    tip = int(body.nodes[:, 0].argmax())
    assert abs(float(found.pose.turns[1, tip, 2]) - math.radians(115)) < 0.3
