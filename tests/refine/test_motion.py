"""Laws of node trajectories: rest, rigidity, frequencies, and skinning weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from chronosplat.refine.motion import TURN_WEIGHT, Motion, MotionConfig, displacement, farthest_points
from chronosplat.scenes.deformable import rotation_quats, skin, spline_rows
from chronosplat.scenes.rotations import quats_to_matrices
from tests.scene_kit import law, seeds

SPAN = (2.0, 5.0)
STAMPS = torch.linspace(*SPAN, 12)


def points(count: int = 300, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(seed)) - 0.5


def motion(count: int = 300, rest: float = 3.1, timestamps: int = 12, **config: float) -> Motion:
    settings = replace(MotionConfig(nodes=20), **config)  # pyright: ignore[reportArgumentType]
    stamps = torch.linspace(*SPAN, timestamps) if timestamps > 1 else torch.tensor([rest])
    return Motion(points(count), stamps, rest, settings, torch.Generator().manual_seed(0))


def moved(seed: int = 0, rest: float = 3.1) -> Motion:
    """A motion with random coefficients."""
    found, random = motion(rest=rest), torch.Generator().manual_seed(seed)
    found.shift.copy_(0.1 * torch.randn(found.shift.shape, generator=random))
    found.turn.copy_(torch.randn(found.turn.shape, generator=random))
    return found


def test_nodes_are_spread_over_the_gaussians() -> None:
    found = motion()
    assert found.nodes.shape == (20, 3)
    assert bool((found.nodes[:, None] == points()).all(-1).any(1).all())  # each is one of them
    gaps = torch.cdist(found.nodes, found.nodes).fill_diagonal_(torch.inf)
    assert float(torch.cdist(points(), found.nodes).amin(1).max()) <= float(gaps.min())  # no Gaussian is farther than nodes are apart
    assert found.spacing == pytest.approx(float(gaps.amin(1).mean()))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_of_few_gaussians_each_is_a_node(count: int) -> None:
    found = motion(count)
    assert len(found.nodes) == count
    nodes, weights = found.skinning(points(40, 1))
    assert nodes.shape == weights.shape == (40, min(count, 4))
    torch.testing.assert_close(weights.sum(-1), torch.ones(40))


def test_farthest_points_are_far_apart() -> None:
    line = torch.tensor([0.0, 0.1, 1.0, 0.45, 0.2])[:, None].expand(-1, 3)
    assert farthest_points(line, 4).tolist() == [0, 2, 3, 4]


@law
@given(seed=seeds())
def test_skinning_weights_sum_to_one_and_fall_with_distance(seed: int) -> None:
    found, means = motion(), points(50, seed)
    nodes, weights = found.skinning(means)
    assert nodes.dtype == torch.int64
    torch.testing.assert_close(weights.sum(-1), torch.ones(50))
    assert bool((weights >= 0).all())
    assert bool((weights.diff(dim=-1) <= 0).all())
    gaps = torch.cdist(means, found.nodes)
    torch.testing.assert_close(gaps.gather(1, nodes), gaps.sort(1).values[:, :4])


def test_far_away_weights_are_finite() -> None:
    weights = motion().skinning(points() + 100)[1]
    torch.testing.assert_close(weights, torch.full_like(weights, 0.25))


@law
@given(seed=seeds())
def test_nothing_moves_at_rest(seed: int) -> None:
    rest = float(STAMPS[seed % 12])
    shifts, turns = moved(seed, rest).at(torch.tensor([rest, rest + 0.7]))
    assert not shifts[0].any()
    assert not turns[0].any()
    assert float(shifts[1].abs().max()) > 0


def test_coefficients_of_zero_move_nothing() -> None:
    shifts, turns = motion().at(STAMPS)
    assert shifts.shape == turns.shape == (12, 20, 3)
    assert not shifts.any()
    assert not turns.any()


def rigid(found: Motion, turn: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """The nodes' shifts and turns in a rigid motion about the origin."""
    turned = (quats_to_matrices(rotation_quats(turn)) @ found.nodes[:, :, None])[..., 0]
    return (turned + shift - found.nodes)[None], turn.expand(1, len(found.nodes), 3)


@law
@given(seed=seeds())
def test_rigid_motion_bends_nothing_and_moves_gaussians_rigidly(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    found, turn, shift = motion(), torch.randn(3, generator=random), torch.randn(3, generator=random)
    shifts, turns = rigid(found, turn, shift)
    assert float(found.bending(shifts, turns)) < 1e-10
    assert float(found.bending(shifts + 0.05 * torch.randn(shifts.shape, generator=random), turns)) > 1e-3
    assert float(found.bending(shifts, turns + 0.1 * torch.randn(shifts.shape, generator=random))) > 1e-4
    matrix = quats_to_matrices(rotation_quats(turn))
    quats = torch.tensor([1.0, 0, 0, 0]).expand(300, 4)
    means, spun = skin(points(), quats, *found.skinning(points()), found.nodes, shifts, turns)
    torch.testing.assert_close(means[0], points() @ matrix.T + shift, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(quats_to_matrices(spun[0]), matrix.expand(300, 3, 3), rtol=1e-4, atol=1e-5)


def test_bending_does_not_depend_on_the_size_of_the_scene() -> None:
    small = motion()
    large = Motion(7 * points(), STAMPS, 3.1, MotionConfig(nodes=20), torch.Generator().manual_seed(0))
    shifts = 0.1 * torch.randn(2, 20, 3, generator=torch.Generator().manual_seed(1))
    zero = torch.zeros_like(shifts)
    assert float(large.bending(7 * shifts, zero)) == pytest.approx(float(small.bending(shifts, zero)), rel=1e-4)


def test_frequencies_open_from_slow_to_fast() -> None:
    found = motion()
    count = len(found.scale)
    assert count == 10
    for frequency in range(count):
        found.shift.zero_()
        found.shift[frequency] = 1.0
        sizes = []
        for openness in (1 / count, frequency / count, (frequency + 0.5) / count, (frequency + 1) / count, 1.0):
            found.openness = openness
            sizes.append(float(found.at(STAMPS)[0].abs().max()))
        if frequency:
            assert sizes[:2] == [0, 0]
        assert sizes[2] == pytest.approx(sizes[3] / 2, rel=1e-4)
        assert sizes[3] == pytest.approx(sizes[4], rel=1e-4)
        assert sizes[4] > 0


def test_fast_motion_is_dear() -> None:
    scale = motion().scale
    assert bool((scale.diff() < 0).all())
    assert float(scale[0]) == 1


def test_unsteadiness_is_zero_for_still_and_even_motion_and_grows_with_the_square() -> None:
    assert float(motion().unsteadiness()) == 0
    found = moved()
    once = float(found.unsteadiness())
    assert once > 0
    found.shift *= 3
    found.turn *= 3
    assert float(found.unsteadiness()) == pytest.approx(9 * once, rel=1e-4)
    bends = [x[2:] - 2 * x[1:-1] + x[:-2] for x in found.at(STAMPS)]
    shift, turn = (bend.square().sum(-1).mean() for bend in bends)
    assert float(found.unsteadiness()) == pytest.approx(float(shift / found.spacing**2 + TURN_WEIGHT / 4 * turn), rel=1e-4)
    assert float(motion(timestamps=2).unsteadiness()) == 0
    found = motion(rest=float(STAMPS[4]), local=0.3)
    found.pose(*(STAMPS[:, None, None] * torch.ones(20, 3),) * 2)
    assert float(found.unsteadiness()) < 1e-9


@law
@given(seed=seeds(), size=st.sampled_from([0.0, 1e-5, 0.5, 3.0]))
def test_displacement_is_that_of_the_rotation_matrix(seed: int, size: float) -> None:
    random = torch.Generator().manual_seed(seed)
    turns, vectors = size * torch.randn(7, 1, 3, generator=random), torch.randn(7, 4, 3, generator=random)
    wanted = (quats_to_matrices(rotation_quats(turns)) @ vectors[..., None])[..., 0] - vectors
    torch.testing.assert_close(displacement(turns, vectors), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("timestamps", "count"), [(1, 0), (2, 1), (5, 4), (50, 10)])
def test_there_are_fewer_frequencies_than_timestamps(timestamps: int, count: int) -> None:
    found = motion(timestamps=timestamps)
    assert found.shift.shape == found.turn.shape == (count, 20, 3)
    assert found.at(STAMPS)[0].shape == (12, 20, 3)


def test_one_timestamp_is_static() -> None:
    found = motion(rest=3.0, timestamps=1, local=0.3)
    shifts, turns = found.at(torch.tensor([3.0, 4.0]))
    assert not shifts.any()
    assert not turns.any()


@law
@given(seed=seeds())
def test_poses_of_their_own_are_met_at_every_timestamp_and_kept_by_splines_through_the_knots(seed: int) -> None:
    found, random = motion(rest=float(STAMPS[4]), local=0.3), torch.Generator().manual_seed(seed)
    assert len(found.shift) == len(found.turn) == 10 + 12
    shifts, turns = torch.randn(2, 12, 20, 3, generator=random)
    found.pose(shifts, turns)
    for got, wanted in zip(found.at(STAMPS), (shifts, turns), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)
    knots = found.knots()
    assert bool((knots.diff() > 0).all())
    rows = spline_rows(knots, STAMPS.double()).float()
    torch.testing.assert_close(torch.einsum("tm,mkc->tkc", rows, found.at(knots.float())[0]), found.at(STAMPS)[0], rtol=1e-4, atol=1e-4)


def test_splines_through_the_knots_keep_the_fastest_cosine() -> None:
    found = motion()
    found.shift[-1] = 1.0
    times = torch.linspace(*SPAN, 200)
    rows = spline_rows(found.knots(), times.double()).float()
    kept = torch.einsum("tm,mkc->tkc", rows, found.at(found.knots().float())[0])
    assert float((kept - found.at(times)[0]).abs().max()) < 0.02 * float(found.at(times)[0].abs().max())


def test_gradients_reach_every_coefficient() -> None:
    found = moved()
    found.shift, found.turn = found.shift.requires_grad_(), found.turn.requires_grad_()
    loss = found.bending(*found.at(STAMPS)) + found.unsteadiness()
    for gradient in torch.autograd.grad(loss, [found.shift, found.turn]):
        assert bool(gradient.isfinite().all())
        assert bool((gradient != 0).any(-1).all())
    found.shift, found.turn = (torch.zeros_like(t).requires_grad_() for t in (found.shift, found.turn))
    for gradient in torch.autograd.grad(found.bending(*found.at(STAMPS)), [found.shift, found.turn]):
        assert bool(gradient.isfinite().all())  # also at rest, where rotation vectors are zero
