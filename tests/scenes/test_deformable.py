"""Deformable scenes: splines, skinning, tracks, files and bad input."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import chronosplat as cs
from chronosplat.cameras import Similarity, orbit
from chronosplat.scenes import DeformableGaussians, gaussians_at
from chronosplat.scenes.deformable import rotation_quats, skin, spline_rows
from chronosplat.scenes.rotations import quats_to_matrices
from chronosplat.shapes import InputError
from tests.scene_kit import tilted_world


def body(count: int = 40, nodes: int = 6, knots: int = 5, residuals: bool = False, seed: int = 0) -> DeformableGaussians:
    """A random body in random smooth motion, in a tilted world."""
    g = torch.Generator().manual_seed(seed)
    uniform = lambda *shape: torch.rand(*shape, generator=g)
    near = torch.stack([torch.randperm(nodes, generator=g)[:3] for _ in range(count)])
    weights = uniform(count, 3) + 0.1
    extra = {}
    if residuals:
        extra = {
            "groups": torch.randint(0, 7, (count,), generator=g),
            "offsets": 0.05 * torch.randn(knots, 7, 3, generator=g),
            "tints": 0.1 * torch.randn(knots, 7, 3, generator=g),
            "fades": uniform(knots, 7),
            "shares": uniform(count),
        }
    return DeformableGaussians(
        means=uniform(count, 3) - 0.5,
        quats=torch.nn.functional.normalize(torch.randn(count, 4, generator=g), dim=-1),
        scales=0.02 + 0.03 * uniform(count, 3),
        opacities=0.2 + 0.7 * uniform(count),
        colors=uniform(count, 3),
        nodes=uniform(nodes, 3) - 0.5,
        skin_nodes=near,
        skin_weights=weights / weights.sum(-1, keepdim=True),
        knots=torch.tensor([2.0, 2.5, 3.5, 4.0, 5.0], dtype=torch.float64)[:knots],
        shifts=0.1 * torch.randn(knots, nodes, 3, generator=g),
        turns=0.3 * torch.randn(knots, nodes, 3, generator=g),
        world=tilted_world(),
        **extra,
    )


KNOTS = torch.tensor([0.0, 1.0, 1.5, 4.0], dtype=torch.float64)


def test_a_spline_passes_its_knots_and_keeps_lines() -> None:
    torch.testing.assert_close(spline_rows(KNOTS, KNOTS), torch.eye(4, dtype=torch.float64))
    t = torch.linspace(0, 4, 33, dtype=torch.float64)
    torch.testing.assert_close(spline_rows(KNOTS, t) @ (3 * KNOTS - 1), 3 * t - 1)
    # parabolas are exact between inner knots
    inner = torch.linspace(1, 1.5, 9, dtype=torch.float64)
    torch.testing.assert_close(spline_rows(KNOTS, inner) @ KNOTS**2, inner**2)


def test_a_spline_is_smooth_and_clamped() -> None:
    values = torch.tensor([0.0, 2.0, -1.0, 1.0], dtype=torch.float64)
    h = 1e-6
    for knot in KNOTS[1:3]:
        before, at, after = (spline_rows(KNOTS, knot[None] + d) @ values for d in (-h, 0, h))
        assert abs(float(at - before) - float(after - at)) / h < 1e-4
    outside = spline_rows(KNOTS, torch.tensor([-3.0, 9.0], dtype=torch.float64))
    torch.testing.assert_close(outside, torch.eye(4, dtype=torch.float64)[[0, 3]])


def test_rotation_vectors_turn_by_their_length() -> None:
    for angle in (0.0, 1e-5, 1.0, math.pi, 5.0):
        matrix = quats_to_matrices(rotation_quats(torch.tensor([0.0, 0.0, angle], dtype=torch.float64)))
        expected = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64)
        torch.testing.assert_close(matrix[:2, :2], expected)
    turns = torch.tensor([[0.0, 0, 0], [1e-6, 0, 2e-6], [0.4, -2, 1]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(rotation_quats, (turns,))


def test_equal_rigid_motion_of_all_nodes_moves_the_body_rigidly() -> None:
    scene = body()
    turn, shift = torch.tensor([0.2, -0.5, 0.9]), torch.tensor([0.1, 0.2, -0.3])
    matrix = quats_to_matrices(rotation_quats(turn))
    shifts = (scene.nodes @ matrix.T - scene.nodes + shift)[None]
    means, quats = skin(scene.means, scene.quats, scene.skin_nodes, scene.skin_weights, scene.nodes, shifts, turn.expand(1, 6, 3))
    torch.testing.assert_close(means[0], scene.means @ matrix.T + shift, atol=1e-5, rtol=0)
    torch.testing.assert_close(quats_to_matrices(quats[0]), matrix @ quats_to_matrices(scene.quats), atol=1e-5, rtol=0)


def test_gradients_reach_shape_and_motion() -> None:
    scene = body(count=5, nodes=4, residuals=True).to(dtype=torch.float64)
    names = ("means", "quats", "colors", "nodes", "skin_weights", "shifts", "turns", "offsets", "tints", "fades", "shares")
    leaves = [scene.tensors()[name].clone().requires_grad_() for name in names]

    def evaluate(*tensors: Tensor) -> tuple[Tensor, ...]:
        fields = replace(scene, **dict(zip(names, tensors, strict=True))).evaluate(torch.tensor([2.2, 4.4], dtype=torch.float64))
        return fields["means"], fields["quats"], fields["colors"], fields["opacities"]

    assert torch.autograd.gradcheck(evaluate, leaves)


def test_residuals_shift_and_tint_their_groups() -> None:
    scene = body(residuals=True)
    plain = replace(scene, groups=None, offsets=None, tints=None, fades=None, shares=None)
    assert scene.groups is not None
    assert scene.offsets is not None
    time = float(scene.knots[2])
    moved, still = gaussians_at(scene, time), gaussians_at(plain, time)
    torch.testing.assert_close(moved.means - still.means, scene.offsets[2][scene.groups])
    assert not torch.equal(moved.colors, still.colors)
    assert bool(((moved.colors >= 0) & (moved.colors <= 1)).all())


def test_tracks_follow_the_gaussians_and_start_where_they_are() -> None:
    scene = body()
    at, times = 3.0, torch.tensor([3.0, 2.1, 4.9], dtype=torch.float64)
    points = scene.at(at).means[:10]
    tracks = scene.tracks(points, at, times)
    torch.testing.assert_close(tracks[0], points, atol=1e-4, rtol=0)
    for index, time in enumerate(times.tolist()):
        torch.testing.assert_close(tracks[index], scene.at(time).means[:10], atol=1e-4, rtol=0)
    elsewhere = points + 0.01
    torch.testing.assert_close(scene.tracks(elsewhere, at, times)[0], elsewhere, atol=1e-4, rtol=0)


@pytest.mark.parametrize("residuals", [False, True])
def test_a_file_keeps_the_scene(tmp_path: Path, residuals: bool) -> None:
    scene = body(residuals=residuals)
    cs.save_scene(scene, tmp_path / "body.safetensors")
    loaded = cs.load_scene(tmp_path / "body.safetensors")
    assert isinstance(loaded, DeformableGaussians)
    assert loaded.seconds == (2.0, 5.0)
    for name, tensor in scene.tensors().items():
        assert torch.equal(loaded.tensors()[name], tensor), name
    assert set(loaded.tensors()) == set(scene.tensors())


def test_other_coordinates_are_the_same_scene() -> None:
    scene = body(residuals=True)
    world = Similarity(
        0.7, quats_to_matrices(torch.tensor([0.5, 0.1, -0.4, 0.2], dtype=torch.float64)), torch.tensor([0.3, -1.0, 2.0]).double()
    )
    other = scene.in_coordinates(world)
    assert not torch.allclose(other.means, scene.means)
    for seconds in (2.0, 3.3):
        found, wanted = other.at(seconds), scene.at(seconds)
        for name in ("means", "scales", "opacities", "colors"):
            torch.testing.assert_close(getattr(found, name), getattr(wanted, name), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(quats_to_matrices(found.quats), quats_to_matrices(wanted.quats), atol=1e-4, rtol=0)


def test_it_renders_between_knots_and_stands_still_outside() -> None:
    scene = replace(body(), world=Similarity())
    times = [2.0, 1.0, 3.1]
    out = cs.render(scene, orbit([0.0] * 3, [0.0] * 3, 32), times)
    torch.testing.assert_close(out.rgb[0], out.rgb[1])
    assert float((out.rgb[2] - out.rgb[0]).abs().max()) > 0.05


def test_one_knot_is_a_static_scene() -> None:
    scene = body(knots=1)
    assert scene.seconds is None
    assert scene.num_frames == 1
    assert scene.timestamps(5) == []


def test_precision_changes_leave_indices_alone() -> None:
    scene = body(residuals=True).to(dtype=torch.float64)
    assert scene.skin_nodes.dtype == torch.int64
    assert scene.evaluate(torch.tensor([3.0]))["means"].dtype == torch.float64


def test_groups_fade_and_take_their_share_of_tints() -> None:
    scene = body(residuals=True)
    assert scene.groups is not None
    assert scene.fades is not None
    assert scene.shares is not None
    assert scene.tints is not None
    now = scene.evaluate(scene.knots)
    torch.testing.assert_close(now["opacities"], scene.opacities * scene.fades[:, scene.groups])
    tinted = scene.colors + scene.shares[:, None] * scene.tints[:, scene.groups]
    torch.testing.assert_close(now["colors"], tinted.clamp(0, 1))
    plain = replace(scene, fades=None, shares=None).evaluate(scene.knots)
    torch.testing.assert_close(plain["opacities"], scene.opacities.expand_as(plain["opacities"]))
    torch.testing.assert_close(plain["colors"], (scene.colors + scene.tints[:, scene.groups]).clamp(0, 1))
    between = scene.evaluate(torch.linspace(2, 5, 50, dtype=torch.float64))["opacities"]
    assert bool(((between >= 0) & (between <= scene.opacities)).all())  # a spline overshoots; opacities do not


BAD = {
    "fades: expected groups, offsets and tints beside it, got none": lambda s: replace(s, fades=torch.ones(5, 7)),
    "shares: expected shape": lambda s: replace(body(residuals=True), shares=s.opacities[:-1]),
    "skin_nodes: expected values from 0 to 5": lambda s: replace(s, skin_nodes=s.skin_nodes + 6),
    "skin_nodes: expected int64, got torch.int32": lambda s: replace(s, skin_nodes=s.skin_nodes.int()),
    "knots: expected at least one, increasing": lambda s: replace(s, knots=s.knots.flip(0)),
    "residuals: expected groups, offsets, tints together, got groups alone": lambda s: replace(s, groups=s.skin_nodes[:, 0]),
    "shifts: expected shape": lambda s: replace(s, shifts=s.shifts[:-1]),
    "skin_weights: expected shape": lambda s: replace(s, skin_weights=s.skin_weights[:, :2]),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_named(message: str) -> None:
    with pytest.raises(InputError, match=message):
        BAD[message](body())
