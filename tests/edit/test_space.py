"""Edits of space: inverse, composition, identity; crops commute with rigid motion."""

from __future__ import annotations

import math

import pytest
import torch

from chronosplat.edit import Crop, Edit, Ground, Move, Recolour, Rotate, Scale, edit
from chronosplat.export.coordinates import oriented
from tests.edit.edit_kit import KINDS, assert_same_at, deformable_scene, every_kind, times_of
from tests.scene_kit import moving_scene, sequence_scene, static_scene, tilted_world

ABOUT = (0.3, -1.0, 2.0)


@every_kind
@pytest.mark.parametrize(
    "step",
    [Move((0.0, 0.0, 0.0)), Rotate(0.0, (1.0, 2.0, 3.0), ABOUT), Rotate(360.0), Scale(1.0, ABOUT), Recolour(), Crop(sphere=(0, 0, 0, 1e3))],
)
def test_identity_parameters_change_nothing(kind: str, step: Edit) -> None:
    scene = KINDS[kind]()
    assert_same_at(scene, edit(scene, [step]), times_of(scene))


@every_kind
@pytest.mark.parametrize(
    ("step", "inverse"),
    [
        (Move((0.5, -1.0, 2.0)), Move((-0.5, 1.0, -2.0))),
        (Rotate(70.0, (1.0, 2.0, -1.0), ABOUT), Rotate(-70.0, (1.0, 2.0, -1.0), ABOUT)),
        (Scale(2.5, ABOUT), Scale(0.4, ABOUT)),
    ],
)
def test_an_edit_then_its_inverse_restores_the_scene(kind: str, step: Edit, inverse: Edit) -> None:
    scene = KINDS[kind]()
    moved = edit(scene, [step])
    assert float((moved.at(times_of(scene)[0]).means - scene.at(times_of(scene)[0]).means).abs().max()) > 0.1
    assert_same_at(scene, edit(moved, [inverse]), times_of(scene))


@every_kind
def test_places_change_in_the_captures_world(kind: str) -> None:
    scene = KINDS[kind]()
    turned = edit(scene, [Rotate(90.0, (0.0, 0.0, 2.0), ABOUT), Scale(2.0, ABOUT), Move((1.0, 2.0, 3.0))])
    about = torch.tensor(ABOUT)
    for seconds in times_of(scene):
        before, after = scene.at(seconds), turned.at(seconds)
        arm = before.means - about
        wanted = about + 2 * torch.stack([-arm[:, 1], arm[:, 0], arm[:, 2]], -1) + torch.tensor([1.0, 2, 3])
        torch.testing.assert_close(after.means, wanted, rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(after.scales, 2 * before.scales)


@every_kind
def test_the_world_stays_so_that_upright_exports_see_the_move(kind: str) -> None:
    scene = KINDS[kind]()
    moved = edit(scene, [Move((0.0, 1.0, 0.0))])
    torch.testing.assert_close(moved.world.matrix(), scene.world.matrix())
    seconds = times_of(scene)[0]
    shift = oriented(moved, "y").at(seconds).means - oriented(scene, "y").at(seconds).means
    torch.testing.assert_close(shift, (scene.world.rotation.T[:, 1].float()).expand_as(shift), rtol=0, atol=1e-5)


@every_kind
def test_crop_commutes_with_rigid_motion(kind: str) -> None:
    scene = KINDS[kind]()
    centre = scene.at(times_of(scene)[0]).means.mean(0).double()
    radius = 1.8 if kind == "deformable" else 0.9
    turn = Rotate(50.0, (1.0, -1.0, 0.5), ABOUT)
    there = _turned(centre, 50.0, torch.tensor([1.0, -1.0, 0.5], dtype=torch.float64))
    first, second = (
        edit(scene, [Crop(sphere=(*centre.tolist(), radius)), turn]),
        edit(scene, [turn, Crop(sphere=(*there.tolist(), radius))]),
    )
    assert 0 < first.num_gaussians < scene.num_gaussians or kind == "sequence"
    assert_same_at(first, second, times_of(scene))


def _turned(point: torch.Tensor, degrees: float, axis: torch.Tensor) -> torch.Tensor:
    """Rodrigues' formula about ABOUT."""
    k, arm, angle = axis / axis.norm(), point - torch.tensor(ABOUT, dtype=torch.float64), math.radians(degrees)
    turned = arm * math.cos(angle) + torch.linalg.cross(k, arm) * math.sin(angle) + k * (k @ arm) * (1 - math.cos(angle))
    return turned + torch.tensor(ABOUT, dtype=torch.float64)


@every_kind
def test_ground_puts_the_lowest_point_at_height_zero_and_again_changes_nothing(kind: str) -> None:
    scene = KINDS[kind]()
    grounded = edit(scene, [Ground(ignore=0.0)])
    upright = oriented(grounded, "y")
    lowest = min(float(upright.at(t).means[upright.at(t).opacities >= 1 / 255, 1].min()) for t in times_of(scene, 24))
    assert abs(lowest) < 1e-5
    sideways = oriented(scene, "y").at(times_of(scene)[0]).means - upright.at(times_of(scene)[0]).means
    torch.testing.assert_close(sideways[:, [0, 2]], torch.zeros_like(sideways[:, :2]), rtol=0, atol=1e-5)
    assert_same_at(grounded, edit(grounded, [Ground(ignore=0.0)]), times_of(scene))


def test_ground_ignores_stragglers() -> None:
    scene = static_scene(200)
    low = scene.map(lambda t: t.clone())
    low.means[0, 1], low.opacities[0] = -50.0, 0.05
    assert float(edit(low, [Ground(ignore=0.01)]).at(0).means[0, 1]) < -40


def test_crop_keeps_what_is_inside_and_outside_keeps_the_rest() -> None:
    scene = static_scene(50, world=tilted_world())
    means = scene.at(0).means
    low, high = means.quantile(0.2, dim=0), means.quantile(0.9, dim=0)
    inside = edit(scene, [Crop(box=(*low.tolist(), *high.tolist()))])
    outside = edit(scene, [Crop(box=(*low.tolist(), *high.tolist()), outside=True)])
    assert 0 < inside.num_gaussians < 50
    assert inside.num_gaussians + outside.num_gaussians == 50
    assert bool(((inside.at(0).means >= low - 1e-5) & (inside.at(0).means <= high + 1e-5)).all())


def test_crop_judges_a_moving_gaussian_where_it_is_most_of_the_time_that_it_is_visible() -> None:
    scene = moving_scene(2, world=None)
    fields = scene.tensors()
    fields["means"] = torch.tensor([[0.0, 0, 0], [0, 0, 0]])
    fields["velocities"] = torch.tensor([[1.0, 0, 0], [1.0, 0, 0]])
    fields["time_sigmas"], fields["opacities"] = torch.full((2,), 0.2), torch.full((2,), 0.9)
    fields["time_centers"] = torch.tensor([-0.5, 0.5])  # both pass x = 0 when they are visible
    fields["means"][1, 0] = 5.0  # but the second one is elsewhere
    scene = type(scene)(**fields, clock=scene.clock, seconds=scene.seconds)
    assert edit(scene, [Crop(sphere=(0.0, 0.0, 0.0, 0.5))]).num_gaussians == 1


def test_crop_of_a_sequence_judges_each_frame() -> None:
    scene = sequence_scene(3, 8)
    cropped = edit(scene, [Crop(box=(0.0, -9.0, -9.0, 9.0, 9.0, 9.0))])
    for index, seconds in enumerate(times_of(scene)):
        wanted = scene.frame(index).means[scene.frame(index).means[:, 0] >= 0]
        found = cropped.at(seconds)
        torch.testing.assert_close(found.means[found.opacities > 0], wanted)


@every_kind
def test_recolouring_by_a_linear_change_is_exact(kind: str) -> None:
    scene = KINDS[kind]()
    scene = edit(scene, [Recolour(contrast=0.5)])  # away from 0 and 1, where colours are clamped
    dark = edit(scene, [Recolour(brightness=0.5, tint=(1.0, 0.5, 0.25))])
    for seconds in times_of(scene):
        wanted = scene.at(seconds).colors * 0.5 * torch.tensor([1.0, 0.5, 0.25])
        torch.testing.assert_close(dark.at(seconds).colors, wanted, rtol=0, atol=2e-3 if kind == "deformable" else 1e-6)


def test_recolour_does_what_its_parameters_say() -> None:
    scene = static_scene(3)
    red = type(scene)(**scene.tensors() | {"colors": torch.tensor([[1.0, 0, 0], [0, 1, 0], [0.5, 0.5, 0.5]])})
    colors = lambda **parameters: edit(red, [Recolour(**parameters)]).tensors()["colors"]
    torch.testing.assert_close(colors(hue=120.0)[0], torch.tensor([0.0, 1, 0]), rtol=0, atol=1e-6)
    torch.testing.assert_close(colors(hue=240.0)[0], torch.tensor([0.0, 0, 1]), rtol=0, atol=1e-6)
    torch.testing.assert_close(colors(saturation=0.0)[0], torch.full((3,), 0.2126), rtol=0, atol=1e-6)
    torch.testing.assert_close(colors(gamma=2.0)[2], torch.full((3,), 0.25), rtol=0, atol=1e-6)
    torch.testing.assert_close(colors(contrast=0.0), torch.full((3, 3), 0.5), rtol=0, atol=1e-6)
    assert float(colors(brightness=9.0).max()) == 1.0


def test_the_tints_of_a_deformable_scene_change_with_its_colours() -> None:
    scene = deformable_scene(8)
    for step in (Recolour(hue=40.0), Recolour(gamma=1.5)):
        changed = edit(scene, [step])
        for seconds in times_of(scene):
            wanted = step._changed(scene.at(seconds).colors)
            assert float((changed.at(seconds).colors - wanted).abs().max()) < 0.06
