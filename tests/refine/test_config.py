"""Refinement settings, and the unbounded fields that are optimised."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given

from chronosplat.refine import BEST, FAST, refinement
from chronosplat.refine.config import DeformConfig, FreeConfig, GentleConfig
from chronosplat.refine.parameters import UNBOUNDED, bounded, fields_of, freed, with_fields
from chronosplat.refine.solid.config import SOLID_BEST, SOLID_FAST
from chronosplat.scenes import Gaussians4D
from tests.scene_kit import law, moving_scene, seeds, static_scene, tilted_world


@pytest.mark.parametrize(("word", "config"), [("off", None), ("fast", FAST), ("best", BEST)])
def test_words_are_configs(word: str, config: object) -> None:
    assert refinement(word) == config


@pytest.mark.parametrize(("text", "seconds"), [("30", 30.0), ("0.3", 0.3), ("1e2", 100.0)])
def test_numbers_are_seconds(text: str, seconds: float) -> None:
    found = refinement(text)
    assert found == replace(FAST, steps=None, seconds=seconds, solid=SOLID_BEST if seconds >= 30 else SOLID_FAST)


def test_every_field_has_a_step_size_and_two_maps() -> None:
    names = set(moving_scene().tensors())
    for sizes in (FreeConfig().lrs, FreeConfig().hull_lrs, GentleConfig().lrs, UNBOUNDED):
        assert set(sizes) == names
    assert set(DeformConfig().lrs) == {*static_scene().tensors(), "shift", "turn"}


def test_a_config_s_step_sizes_are_its_own() -> None:
    one, other, lrs = replace(FAST), refinement("3"), FreeConfig().lrs
    assert other is not None
    assert one.free.lrs == other.free.lrs == lrs
    made = type(FAST)(steps=1)
    made.free.lrs["means"] = 9.0
    assert type(FAST)(steps=1).free.lrs["means"] == lrs["means"] != 9.0


@law
@given(seed=seeds())
def test_freed_and_bounded_are_inverse_to_each_other(seed: int) -> None:
    fields = fields_of(moving_scene(20, seed))
    free = freed(fields)
    assert all(t.requires_grad and t.is_leaf for t in free.values())
    for name, t in bounded(free).items():
        torch.testing.assert_close(t.detach(), fields[name], rtol=1e-4, atol=1e-6, msg=name)
    again = freed(bounded(free))
    for name, t in again.items():
        torch.testing.assert_close(t, free[name], rtol=1e-4, atol=1e-5, msg=name)


@law
@given(seed=seeds())
def test_anything_without_bounds_is_a_scene(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    wild = {name: 5 * torch.randn(t.shape, generator=random) for name, t in moving_scene(12).tensors().items()}
    fields = bounded(wild)
    assert bool((fields["scales"] > 0).all())
    assert bool((fields["time_sigmas"] > 0).all())
    assert bool(((fields["opacities"] > 0) & (fields["opacities"] < 1)).all())


def test_freed_fields_are_copies() -> None:
    scene = moving_scene()
    before = scene.means.clone()
    free = freed(fields_of(scene))
    with torch.no_grad():
        for t in free.values():
            t.add_(1)
    assert torch.equal(scene.means, before)


def test_gradients_flow_through_every_field() -> None:
    free = freed(fields_of(moving_scene()))
    sum(t.square().sum() for t in bounded(free).values()).backward()  # pyright: ignore[reportAttributeAccessIssue]
    for name, t in free.items():
        assert t.grad is not None, name
        assert float(t.grad.abs().sum()) > 0, name


def test_other_fields_keep_world_clock_and_seconds() -> None:
    scene = moving_scene(8, world=tilted_world())
    fields = fields_of(scene)
    fields["quats"] = fields["quats"] * 7
    fields["colors"] = fields["colors"] * 4 - 1
    made = with_fields(scene, fields)
    assert isinstance(made, Gaussians4D)
    assert (made.world, made.clock, made.seconds) == (scene.world, scene.clock, scene.seconds)
    torch.testing.assert_close(made.quats.norm(dim=-1), torch.ones(8))
    torch.testing.assert_close(made.quats, scene.quats)
    assert float(made.colors.min()) == 0
    assert float(made.colors.max()) == 1
    assert torch.equal(made.means, scene.means)


def test_a_static_scene_keeps_its_world() -> None:
    scene = static_scene(5, world=tilted_world())
    made = with_fields(scene, {name: t[:3] for name, t in fields_of(scene).items()})
    assert made.num_gaussians == 3
    assert made.world is scene.world
