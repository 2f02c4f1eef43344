"""Registration of hulls: surfaces, rotations, and swings that are wider than what swings."""

from __future__ import annotations

from functools import cache

import torch
from hypothesis import given
from torch import Tensor

from chronosplat.cameras import orbit
from chronosplat.captures import Views
from chronosplat.events import Cancel
from chronosplat.refine import random_in_hull
from chronosplat.refine.motion import Motion, MotionConfig
from chronosplat.refine.register import best_rotations, edge_laplacian, hull_surface, registered_poses, rotation_vectors
from chronosplat.refine.training_views import TrainingViews, training_views
from chronosplat.scenes import DeformableGaussians
from chronosplat.scenes.deformable import rotation_quats, skin
from chronosplat.scenes.rotations import quats_to_matrices
from tests.refine.kit import body_of, views_of
from tests.scene_kit import law, seeds

STAMPS, SIDES = torch.linspace(0.0, 2.0, 5, dtype=torch.float64), 8
REST = 2


@cache
def swinging() -> DeformableGaussians:
    """The bar turns by 34 degrees between two timestamps: its ends swing by more than their width."""
    turns = torch.linspace(-1.2, 1.2, 5)[:, None, None] * torch.tensor([0.0, 0.0, 1.0]).expand(1, 2, 3)
    ends = torch.tensor([[-0.45, 0.0, 0.0], [0.45, 0.0, 0.0]])
    return body_of(turns, (quats_to_matrices(rotation_quats(turns)) @ ends[:, :, None])[..., 0] - ends)


@cache
def around() -> Views:
    """The bar from all sides at each timestamp."""
    cameras = orbit([360 / SIDES * i for i in range(SIDES)] * len(STAMPS), [-20.0, 20.0] * (SIDES // 2 * len(STAMPS)), size=64)
    return views_of(swinging(), cameras, STAMPS.repeat_interleave(SIDES))


def training(views: Views) -> TrainingViews:
    return training_views(random_in_hull(views, 50), views)


def world_points(points: Tensor, views: Views) -> Tensor:
    return random_in_hull(views, 50).world.points(points)


def test_the_surface_of_a_hull_is_near_the_body_and_has_its_colours() -> None:
    surface = hull_surface(training(around()), list(range(REST * SIDES, (REST + 1) * SIDES)), torch.Generator().manual_seed(0))
    body = swinging().at(1.0)
    gaps = torch.cdist(world_points(surface.points, around()).float(), body.means)
    assert len(surface.points) > 300
    assert float(gaps.amin(1).median()) < 0.08  # of a bar that is 0.24 thick
    assert float(gaps.amin(0).max()) < 0.16  # no end is missing
    unlike = lambda colors: float((surface.colors - colors).abs().mean())
    assert unlike(body.colors[gaps.argmin(1)]) < unlike(body.colors[gaps.argmin(1)].flip(0)) / 2


def test_empty_silhouettes_have_no_surface_and_take_the_pose_of_the_nearest_other() -> None:
    views = around()
    alphas = views.alphas.clone()
    alphas[:SIDES] = 0
    empty = training(Views(views.images, alphas, views.cameras, views.times))
    assert len(hull_surface(empty, list(range(SIDES)), torch.Generator()).points) == 0
    shifts, turns = registered_poses(motion_of(empty), empty, REST)
    assert torch.equal(shifts[0], shifts[1])
    assert torch.equal(turns[0], turns[1])
    assert float(shifts[1].abs().max()) > 0.1


def motion_of(views: TrainingViews) -> Motion:
    means = hull_surface(views, list(range(REST * SIDES, (REST + 1) * SIDES)), torch.Generator().manual_seed(0)).points
    return Motion(means, torch.unique(views.seconds), 1.0, MotionConfig(nodes=16), torch.Generator().manual_seed(0))


def test_registration_that_is_cancelled_keeps_the_poses_so_far() -> None:
    views, cancel = training(around()), Cancel()
    cancel.request()
    shifts, turns = registered_poses(motion_of(views), views, REST, cancel=cancel)
    assert not shifts.any()
    assert not turns.any()


def test_swings_wider_than_what_swings_are_found() -> None:
    views = training(around())
    motion = motion_of(views)
    shifts, turns = registered_poses(motion, views, REST)
    still = torch.tensor([1.0, 0, 0, 0]).expand(len(motion.nodes), 4)
    moved, _ = skin(motion.nodes, still, *motion.skinning(motion.nodes), motion.nodes, shifts, turns)
    truth = swinging().tracks(world_points(motion.nodes, around()), 1.0, STAMPS)
    error = (world_points(moved, around()) - truth).norm(dim=-1).mean(1)
    swing = (truth - truth[REST]).norm(dim=-1).mean(1)
    assert bool((swing[[0, -1]] > 0.3).all())
    assert bool((error < 0.06).all()), error
    assert not shifts[REST].any()


@law
@given(seed=seeds())
def test_rotations_are_recovered_from_edges_and_from_vectors(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    turns = 2 * torch.randn(5, 3, generator=random)
    rotations = quats_to_matrices(rotation_quats(turns))
    edges = torch.randn(5, 6, 3, generator=random)
    torch.testing.assert_close(best_rotations(edges, (rotations[:, None] @ edges[..., None])[..., 0]), rotations, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(rotation_vectors(rotations, turns + 0.1), turns, rtol=1e-3, atol=1e-3)


def test_the_laplacian_of_edges_is_the_sum_of_their_squares() -> None:
    others = torch.tensor([[1, 2], [0, 2], [3, 0], [2, 1]])
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    wanted = (x[others] - x[:, None]).square().sum()
    torch.testing.assert_close((x * (edge_laplacian(others) @ x)).sum(), wanted)
