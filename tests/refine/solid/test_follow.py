"""A silhouette that moves rigidly is tracked, also when it swings far and its outline says nothing."""

from __future__ import annotations

import math

import pytest
import torch

from chronosplat.events import Cancel, Events
from chronosplat.refine.solid.body import build_body
from chronosplat.refine.solid.follow import Follower, pyramid_loss
from chronosplat.refine.solid.frames import read_frames
from chronosplat.refine.solid.motion import deform
from tests.refine.solid.kit import bar, sliding_bar, spoil_losses, video


def test_a_rigid_translation_is_tracked() -> None:
    views = video([bar(18 + 3 * i, 24 - i, 0.5, 22, 9) for i in range(4)])
    frames = read_frames(views)
    body = build_body(frames, 1, 20)
    track = Follower(frames, body, 1, 8, 10).run(Events())
    for i in range(4):
        moved = (deform(body, track.pose[[i]])[0] - body.points).mean(0)
        torch.testing.assert_close(moved[:2], torch.tensor([3.0 * (i - 1), -(i - 1.0)]), atol=0.35, rtol=0)
    assert track.errors[1] == 0
    assert max(track.errors) < 0.01


def test_a_wide_swing_is_found_by_colour() -> None:
    """By 70 degrees at once; the gradient of a rendering alone ends elsewhere."""
    views = video([bar(24, 24, angle, 30, 8) for angle in (0.0, math.radians(70))])
    frames = read_frames(views)
    body = build_body(frames, 0, 24)
    turned, plain = (Follower(frames, body, 0, rounds, 10).run(Events()) for rounds in (25, 0))
    assert abs(float(turned.pose.turns[1, :, 2].median()) - math.radians(70)) < 0.15
    assert turned.errors[1] < 0.5 * plain.errors[1]


def test_a_cancelled_track_keeps_the_last_pose() -> None:
    frames = read_frames(sliding_bar(4))
    body = build_body(frames, 0, 12)
    cancel = Cancel()
    cancel.request()
    pose = Follower(frames, body, 0, 4, 4).run(Events(cancel=cancel)).pose
    assert float(pose.shifts[1].abs().max()) > 0.5
    torch.testing.assert_close(pose.shifts[3], pose.shifts[1])


@pytest.mark.parametrize(("factor", "slope", "why"), [(math.nan, 1.0, "the loss"), (1.0, math.nan, "a gradient")])
def test_what_is_not_finite_keeps_the_frames_before(factor: float, slope: float, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the second frame's third step."""
    frames = read_frames(sliding_bar(4))
    body = build_body(frames, 0, 12)
    spoil_losses(monkeypatch, "follow", 4 + 3, factor, slope)
    track = Follower(frames, body, 0, 4, 4).run(Events())
    assert track.broken == f"{why} became NaN"
    assert float(track.pose.shifts[1].abs().max()) > 0.5
    for i in (2, 3):
        torch.testing.assert_close(track.pose.shifts[i], track.pose.shifts[1], rtol=0, atol=0)


def test_the_pyramid_sees_what_one_level_does_not() -> None:
    """Two dots too far apart to overlap: only a coarse image knows which way they lie."""
    image, near, far = (torch.zeros(1, 32, 32, 1) for _ in range(3))
    image[0, 4, 4], near[0, 4, 8], far[0, 4, 28] = 1, 1, 1
    fine = [float(pyramid_loss(image, other, (1.0,))) for other in (near, far)]
    coarse = [float(pyramid_loss(image, other, (1.0, 1.0, 1.0, 1.0, 1.0))) for other in (near, far)]
    assert fine[0] == fine[1]
    assert coarse[0] < coarse[1]


def test_a_lost_frame_is_found_again_from_its_neighbours() -> None:
    frames = read_frames(sliding_bar(5))
    body = build_body(frames, 0, 16)
    follower = Follower(frames, body, 0, 10, 10)
    track = follower.run(Events())
    good = track.errors[3]
    track.pose.shifts[3] += torch.tensor([0.0, 15.0, 0.0])
    track.errors[3] = 10 * max(track.errors)
    follower._mend(track, Events())
    assert track.errors[3] < 2 * good
    torch.testing.assert_close(track.pose.shifts[3, :, 1].median(), track.pose.shifts[2, :, 1].median(), atol=1.5, rtol=0)


def test_motion_that_returns_starts_from_the_frame_that_looks_alike() -> None:
    frames = read_frames(video([bar(18 + x, 24, 0.5, 22, 9) for x in (0, 6, 12, 1)]))
    follower = Follower(frames, build_body(frames, 1, 12), 1, 1, 1)
    assert follower._alike(3, range(3)) == 0
    assert follower._alike(2, [0, 1]) == 1
