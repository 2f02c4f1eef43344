"""Trajectories as pieces in linear motion: few where they are straight, near them where they are not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from chronosplat.scenes import Gaussians4D
from chronosplat.scenes.pieces import OVERLAP, TINT, Fields, fitted, in_pieces, knots, piece_counts, shared
from chronosplat.scenes.rotations import normalize

TIMES = torch.linspace(-1, 1, 24)


def cloud(count: int) -> Fields:
    return {"scales": torch.full((count, 3), 0.02), "opacities": torch.linspace(0.2, 0.9, count), "colors": torch.rand(count, 3)}


def still_quats(count: int) -> Tensor:
    return torch.tensor([1.0, 0, 0, 0]).expand(len(TIMES), count, 4)


def where(fields: Fields, time: float) -> Tensor:
    """The mean place of all pieces at a time, by their weights."""
    weights = torch.exp(-0.5 * ((time - fields["time_centers"]) / fields["time_sigmas"]) ** 2)
    places = fields["means"] + fields["velocities"] * (time - fields["time_centers"])[:, None]
    return (weights[:, None] * places).sum(0) / weights.sum()


def test_a_line_is_one_gaussian_that_lives_on() -> None:
    velocity = torch.tensor([[0.3, -0.1, 0.0], [0.0, 0.0, 0.0]])
    means = torch.tensor([[0.1, 0.0, 0.2]]) + TIMES[:, None, None] * velocity
    fields, _ = in_pieces(cloud(2), means, still_quats(2), TIMES)
    assert len(fields["means"]) == 2
    assert torch.allclose(fields["velocities"], velocity, atol=1e-5)
    assert torch.equal(fields["opacities"], cloud(2)["opacities"])
    ends = torch.exp(-0.5 * ((TIMES[0] - fields["time_centers"]) / fields["time_sigmas"]) ** 2)
    assert float(ends.min()) > 0.98


@pytest.mark.parametrize("turns", [0.5, 1.0, 2.0])
def test_a_curve_is_split_until_it_is_near(turns: float) -> None:
    angle = TIMES * torch.pi * turns
    path = 0.3 * torch.stack([angle.cos(), angle.sin(), torch.zeros(24)], -1)
    fields, _ = in_pieces(cloud(1), path[:, None], still_quats(1), TIMES)
    assert 3 <= len(fields["means"]) <= 24
    for time, place in zip(TIMES.tolist(), path, strict=True):
        assert float((where(fields, time) - place).norm()) < 0.02


def test_a_rougher_tolerance_needs_fewer_pieces() -> None:
    path = 0.3 * torch.stack([(3 * TIMES).cos(), (3 * TIMES).sin(), TIMES], -1)[:, None]
    counts = [len(in_pieces(cloud(1), path, still_quats(1), TIMES, tolerance)[0]["means"]) for tolerance in (100.0, 2.0, 0.1)]
    assert counts[0] == 1
    assert counts[0] < counts[1] < counts[2]


def test_a_spin_is_split_though_its_mean_stays() -> None:
    quats = normalize(torch.stack([TIMES.cos(), TIMES.sin(), 0 * TIMES, 0 * TIMES], -1))[:, None]
    fields, _ = in_pieces(cloud(1), torch.zeros(24, 1, 3), quats, TIMES)
    assert len(fields["means"]) >= 3
    assert len(in_pieces(cloud(1), torch.zeros(24, 1, 3), still_quats(1), TIMES)[0]["means"]) == 1


def test_the_sign_of_a_quaternion_is_nothing() -> None:
    flips = torch.where(torch.arange(24) % 3 == 0, -1.0, 1.0)[:, None, None]
    fields, _ = in_pieces(cloud(2), torch.zeros(24, 2, 3), still_quats(2) * flips, TIMES)
    assert len(fields["means"]) == 2
    assert torch.allclose(fields["quats"].abs(), still_quats(2)[0])


def test_pieces_together_keep_the_opacity() -> None:
    """Within 0.08 everywhere between the first and the last of them, and on average."""
    for opacity in (0.1, 0.5, 0.9):
        centers, sigma = knots(TIMES, 9)
        each = float(shared(torch.tensor([opacity])))
        inner = torch.linspace(-0.75, 0.75, 97)
        weights = torch.exp(-0.5 * ((inner[:, None] - torch.tensor(centers)) / sigma) ** 2)
        together = 1 - (1 - each * weights).prod(-1)
        assert float((together - opacity).abs().max()) < 0.08
        assert float(together.mean()) == pytest.approx(opacity, abs=0.005)


def test_counts_and_knots() -> None:
    assert piece_counts(24) == [1, 3, 5, 9, 17, 24]
    assert piece_counts(1) == [1]
    assert piece_counts(2) == [1, 2]
    assert piece_counts(3) == [1, 3]
    centers, sigma = knots(TIMES, 5)
    assert centers == pytest.approx([-1, -0.5, 0, 0.5, 1])
    assert sigma == pytest.approx(OVERLAP * 0.5)


def test_a_piece_is_the_line_through_its_timestamps() -> None:
    means = torch.tensor([0.5, 0.0, 0.0]) * TIMES[:, None, None] ** 2
    fit = fitted(means, still_quats(1), torch.zeros(24, 1, 3), torch.tensor([0.02]), TIMES, 0.5, 0.05)
    assert torch.allclose(fit.velocity, torch.tensor([[0.5, 0.0, 0.0]]), atol=0.02)
    assert float(fit.mean[0, 0]) == pytest.approx(0.125, abs=0.005)
    assert 0 < float(fit.off) < 0.01


def test_a_colour_that_changes_splits_a_gaussian_at_rest() -> None:
    """The second one changes by less than the tolerance."""
    colors = torch.zeros(24, 2, 3)
    colors[:, 0, 1] = (TIMES + 1) / 2
    colors[:, 1, 1] = (TIMES + 1) / 2 * TINT
    fields, source = in_pieces(cloud(2) | {"colors": colors}, torch.zeros(24, 2, 3), still_quats(2), TIMES)
    assert int((source == 0).sum()) >= 5
    assert int((source == 1).sum()) == 1
    first = fields["colors"][source == 0][:, 1], fields["time_centers"][source == 0]
    assert torch.allclose(first[0], (first[1] + 1) / 2, atol=TINT)


def test_a_long_gap_between_times_leaves_pieces_finite() -> None:
    times = torch.cat([torch.linspace(0, 0.2, 21), torch.tensor([10.0])])
    path = torch.stack([(20 * times).cos(), (20 * times).sin(), times], -1)[:, None]
    fields, source = in_pieces(cloud(1), path, still_quats(1)[:1].expand(22, 1, 4), times)
    assert len(source) == 22
    assert all(bool(torch.isfinite(t).all()) for t in fields.values())


def test_they_make_a_scene() -> None:
    path = 0.3 * torch.stack([(3 * TIMES).cos(), (3 * TIMES).sin(), TIMES], -1)[:, None].expand(-1, 7, -1)
    fields, _ = in_pieces(cloud(7), path, still_quats(7), TIMES)
    scene = Gaussians4D(**fields)  # pyright: ignore[reportArgumentType]
    assert scene.num_gaussians == len(fields["means"])  # shapes were checked


def test_one_timestamp_is_one_piece() -> None:
    fields, _ = in_pieces(cloud(2), torch.zeros(1, 2, 3), still_quats(2)[:1], torch.zeros(1))
    assert len(fields["means"]) == 2
    assert bool(torch.isfinite(fields["velocities"]).all())
    assert float(fields["time_sigmas"].min()) > 0
