"""Poses that are tracked from timestamp to timestamp: slow swings that add up, fast ones that were registered, and gaps."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from chronosplat.cameras import orbit
from chronosplat.captures import Views
from chronosplat.events import Cancel, Deadline, Events
from chronosplat.refine import RefineConfig, random_in_hull
from chronosplat.refine.body import BodyStart
from chronosplat.refine.config import DENSE
from chronosplat.refine.motion import Motion
from chronosplat.refine.strategies.deform import deform_starts
from chronosplat.refine.strategy import Problem
from chronosplat.refine.tracking import tracked_poses
from chronosplat.refine.training_views import TrainingViews, training_views
from chronosplat.scenes import SPLAT_SHAPES, DeformableGaussians, Gaussians4D
from chronosplat.scenes.deformable import rotation_quats, skin
from chronosplat.scenes.rotations import quats_to_matrices
from tests.refine.kit import body_of, views_of

SIDES, REST = 4, 3
STAMPS = torch.linspace(0.0, 2.0, 7, dtype=torch.float64)
CONFIG = RefineConfig(steps=1)


@cache
def turning(by: float) -> DeformableGaussians:
    """The bar turns by ``by`` radians between two timestamps."""
    turns = by * (torch.arange(7.0) - REST)[:, None, None] * torch.tensor([0.0, 0.0, 1.0]).expand(1, 2, 3)
    ends = torch.tensor([[-0.45, 0.0, 0.0], [0.45, 0.0, 0.0]])
    return body_of(turns, (quats_to_matrices(rotation_quats(turns)) @ ends[:, :, None])[..., 0] - ends)


@cache
def around(by: float) -> Views:
    """The bar from four sides at each timestamp."""
    cameras = orbit([360 / SIDES * i for i in range(SIDES)] * len(STAMPS), [-20.0, 20.0] * (SIDES // 2 * len(STAMPS)), size=48)
    return views_of(turning(by), cameras, STAMPS.repeat_interleave(SIDES))


def hull(views: Views) -> Gaussians4D:
    """Points in the hull of the rest time."""
    return random_in_hull(views[list(range(REST * SIDES, (REST + 1) * SIDES))], 600)


def resting(views: Views) -> tuple[BodyStart, TrainingViews]:
    """The body at the rest time, and the views."""
    points = hull(views)
    settings = replace(DENSE, motion=replace(DENSE.motion, nodes=16))
    start = BodyStart({name: points.tensors()[name] for name in SPLAT_SHAPES}, float(STAMPS[REST]), "visual hull", settings)
    return start, training_views(points, views)


def motion_of(start: BodyStart) -> Motion:
    return start.motion(STAMPS.float(), torch.Generator().manual_seed(CONFIG.seed))


def errors(by: float, start: BodyStart, poses: tuple[Tensor, Tensor]) -> Tensor:
    """Mean distance of the nodes at each timestamp [M] to where the bar has them."""
    motion, world = motion_of(start), hull(around(by)).world
    still = torch.tensor([1.0, 0, 0, 0]).expand(len(motion.nodes), 4)
    moved, _ = skin(motion.nodes, still, *motion.skinning(motion.nodes), motion.nodes, *poses)
    truth = turning(by).tracks(world.points(motion.nodes), float(STAMPS[REST]), STAMPS)
    return (world.points(moved) - truth).norm(dim=-1).mean(1)


def zeros(start: BodyStart) -> tuple[Tensor, Tensor]:
    still = torch.zeros(len(STAMPS), len(motion_of(start).nodes), 3)
    return still, still.clone()


def test_slow_swings_are_tracked_to_where_no_gradient_from_rest_reaches() -> None:
    start, views = resting(around(0.25))
    error = errors(0.25, start, tracked_poses(start, views, CONFIG, Events()))
    assert bool((errors(0.25, start, zeros(start))[[0, -1]] > 0.15).all())
    assert bool((error < 0.05).all()), error


def test_a_registered_pose_wins_where_the_motion_is_too_fast_to_track() -> None:
    """The bar turns by 74 degrees between two timestamps: from the one before, a wrong end is the nearest."""
    by = 1.3
    start, views = resting(around(by))
    motion = motion_of(start)
    turns = by * (torch.arange(7.0) - REST)[:, None, None] * torch.tensor([0.0, 0.0, 1.0]).expand(1, len(motion.nodes), 3)
    world = hull(around(by)).world
    truth = world.inverse().points(turning(by).tracks(world.points(motion.nodes), float(STAMPS[REST]), STAMPS).to(motion.nodes))
    registered = replace(start, poses=(truth - motion.nodes, turns))
    assert float(errors(by, start, tracked_poses(start, views, CONFIG, Events()))[[0, -1]].mean()) > 0.1
    assert bool((errors(by, start, tracked_poses(registered, views, CONFIG, Events())) < 0.05).all())


def test_a_timestamp_that_shows_nothing_keeps_its_pose_and_is_passed_over() -> None:
    start, views = resting(around(0.25))
    empty = 1
    pixels = views.pixels.clone()
    pixels[empty * SIDES : (empty + 1) * SIDES] = 0
    shifts, turns = tracked_poses(start, replace(views, pixels=pixels), CONFIG, Events())
    assert not shifts[empty].any()
    assert not turns[empty].any()
    assert bool(shifts[0].any())


def test_a_cancellation_keeps_the_poses_so_far() -> None:
    told: list[int] = []
    events = Events(progress=lambda stage, done, total, note="": told.append(done) or (events.cancel.request() if done == 2 else None))
    start, views = resting(around(0.25))
    shifts, _ = tracked_poses(start, views, CONFIG, events)
    assert told == [1, 2]
    assert shifts.any((1, 2)).tolist() == [k in (REST + 1, REST + 2) for k in range(len(STAMPS))]


def test_progress_counts_timestamps_and_the_start_stays_as_it_was() -> None:
    told: list[tuple[str, int, int]] = []
    start, views = resting(around(0.25))
    still = zeros(start)
    start = replace(start, poses=still)
    shifts, turns = tracked_poses(
        start, views, CONFIG, Events(progress=lambda stage, done, total, note="": told.append((stage, done, total)))
    )
    assert told == [("tracking", k, len(STAMPS) - 1) for k in range(1, len(STAMPS))]
    assert not any(t.any() for t in (*still, shifts[REST], turns[REST]))


def test_a_body_whose_poses_there_was_no_time_to_find_has_no_lead() -> None:
    views = around(0.25)
    problem = Problem(hull(views), views, training_views(hull(views), views), CONFIG, Events())
    (start,) = deform_starts(problem)
    assert (start.lead, start.preparation > 0) == (DENSE.lead, True)
    late = start.prepared(problem, Events(cancel=Deadline(Cancel(), 0.0)))
    assert isinstance(late, BodyStart)
    assert late.lead == 0.0
    assert late.poses is not None
    assert not any(t.any() for t in late.poses)
    found = start.prepared(problem, Events())
    assert isinstance(found, BodyStart)
    assert found.lead == DENSE.lead
    assert found.poses is not None
    assert found.poses[0].any()
