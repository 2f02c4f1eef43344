"""Scenes: input checks, clocks, and Gaussians at a time in the capture's world."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chronosplat.cameras import Similarity
from chronosplat.scenes import Clock, Gaussians4D, Scene, gaussians_at
from chronosplat.shapes import InputError
from tests.scene_kit import (
    CLOCK,
    condition,
    covariances,
    law,
    moving_scene,
    seeds,
    sequence_scene,
    similarities,
    static_scene,
    tilted_world,
)

WRONG = [
    (scene, name)
    for scene in (static_scene(), sequence_scene(), moving_scene())
    for name in scene.tensors()
    if name != "means"  # the first to be looked at: it binds the axes that the others must have
]


@pytest.mark.parametrize(("scene", "name"), WRONG, ids=[f"{type(s).__name__}.{n}" for s, n in WRONG])
def test_a_field_of_another_length_is_named(scene: Scene, name: str) -> None:
    tensor = scene.tensors()[name]
    short = tensor[:-1]
    message = rf"^{name}: expected shape \[[NT]=\d.*\], got \[{', '.join(map(str, short.shape))}\]$"
    with pytest.raises(InputError, match=message):
        replace(scene, **{name: short})
    with pytest.raises(InputError, match=f"^{name}: expected shape"):
        replace(scene, **{name: tensor[..., None]})


@pytest.mark.parametrize("scene", [static_scene(), sequence_scene(), moving_scene()], ids=lambda s: type(s).__name__)
def test_means_of_other_axes_are_named(scene: Scene) -> None:
    with pytest.raises(InputError, match=r"^means: expected shape .*3\], got .*2\]$"):
        replace(scene, means=scene.means[..., :2])


def test_times_of_a_sequence_must_increase() -> None:
    scene = sequence_scene(frames=3)
    for times in ([0.0, 0.0, 1.0], [0.0, 2.0, 1.0], [0.0, float("nan"), 1.0]):
        with pytest.raises(InputError, match="times: must increase from frame to frame; sort the frames"):
            replace(scene, times=torch.tensor(times))
    assert sequence_scene(frames=1).seconds == (1.0, 1.0)


@pytest.mark.parametrize("scene", [static_scene(), sequence_scene(), moving_scene()], ids=lambda s: type(s).__name__)
def test_fields_are_frozen_and_map_together(scene: Scene) -> None:
    for name, tensor in scene.tensors().items():
        with pytest.raises(FrozenInstanceError):
            setattr(scene, name, tensor)
    double = scene.to(dtype=torch.float64)
    assert list(double.tensors()) == list(scene.tensors())
    for name, tensor in double.tensors().items():
        assert tensor.dtype == torch.float64
        assert torch.equal(tensor.float(), scene.tensors()[name])
    assert double.world is scene.world


def test_numbers_of_gaussians_and_frames() -> None:
    assert (static_scene(7).num_gaussians, moving_scene(7).num_gaussians, sequence_scene(3, 7).num_gaussians) == (7, 7, 7)
    assert (static_scene(7).num_frames, moving_scene(7).num_frames, sequence_scene(3, 7).num_frames) == (1, None, 3)
    assert static_scene(0).num_gaussians == 0


@law
@given(st.floats(-10, 10), st.floats(0.01, 10), st.floats(-5, 5))
def test_clock_round_trip(offset: float, rate: float, t: float) -> None:
    clock = Clock(offset, rate)
    own = torch.tensor(t, dtype=torch.float64)
    assert float(clock.seconds(own)) == offset + rate * t
    torch.testing.assert_close(clock.scene_time(clock.seconds(own)), own, rtol=0, atol=1e-11)


@law
@given(seeds(), similarities())
def test_in_world_moves_means_and_shapes(seed: int, world: Similarity) -> None:
    scene = static_scene(seed=seed, world=world, dtype=torch.float64)
    moved = scene.in_world()
    linear = world.scale * world.rotation
    torch.testing.assert_close(moved.means, world.points(scene.means), rtol=0, atol=1e-12)
    torch.testing.assert_close(covariances(moved), linear @ covariances(scene) @ linear.T, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(moved.quats.norm(dim=-1), torch.ones(scene.num_gaussians, dtype=torch.float64), rtol=0, atol=1e-12)
    assert torch.equal(moved.opacities, scene.opacities)
    assert torch.equal(moved.colors, scene.colors)
    assert moved.world.is_identity()
    assert moved.in_world() is moved


@law
@given(seeds(), similarities(), st.floats(-4, 4), st.floats(0.1, 4), st.floats(-4, 4))
def test_at_equals_conditioning_in_the_captures_world_and_seconds(
    seed: int, world: Similarity, offset: float, rate: float, seconds: float
) -> None:
    scene = moving_scene(seed=seed, world=world, clock=Clock(offset, rate), dtype=torch.float64)
    means, covariance = space_time(scene)
    mean, spatial, weight = condition(means, covariance, torch.tensor(seconds, dtype=torch.float64))
    found = scene.at(seconds)
    torch.testing.assert_close(found.means, mean, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(covariances(found), spatial, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(found.opacities, scene.opacities * weight, rtol=1e-8, atol=1e-12)
    assert found.world.is_identity()
    assert found.num_gaussians == scene.num_gaussians


def space_time(scene: Gaussians4D) -> tuple[torch.Tensor, torch.Tensor]:
    """Means [N, 4] and covariances [N, 4, 4] of a scene in the capture's space and seconds."""
    variance = scene.time_sigmas.square()
    own = torch.zeros(scene.num_gaussians, 4, 4, dtype=torch.float64)
    own[:, :3, :3] = covariances(scene) + scene.velocities[:, :, None] * scene.velocities[:, None, :] * variance[:, None, None]
    own[:, :3, 3] = own[:, 3, :3] = scene.velocities * variance[:, None]
    own[:, 3, 3] = variance
    stretch = torch.eye(4, dtype=torch.float64)
    stretch[:3, :3] = scene.world.scale * scene.world.rotation
    stretch[3, 3] = scene.clock.rate
    shift = torch.cat([scene.world.translation, torch.tensor([scene.clock.offset], dtype=torch.float64)])
    means = torch.cat([scene.means, scene.time_centers[:, None]], 1) @ stretch.T + shift
    return means, stretch @ own @ stretch.T


def test_gaussians_at_stays_in_the_scenes_own_world() -> None:
    scene = moving_scene(world=tilted_world())
    still = gaussians_at(scene, CLOCK.offset + CLOCK.rate * 0.5)
    assert still.world is scene.world
    expected = scene.means + scene.velocities * (0.5 - scene.time_centers)[:, None]
    torch.testing.assert_close(still.means, expected)
    torch.testing.assert_close(still.in_world().means, scene.at(CLOCK.offset + CLOCK.rate * 0.5).means)


@pytest.mark.parametrize(("seconds", "index"), [(-9.0, 0), (1.0, 0), (1.09, 0), (1.11, 1), (1.2, 1), (1.39, 1), (1.41, 2), (50.0, 2)])
def test_at_returns_the_nearest_frame_in_the_world(seconds: float, index: int) -> None:
    scene = sequence_scene(frames=3, world=tilted_world())  # at 1.0, 1.2 and 1.6 seconds
    found, expected = scene.at(seconds), static_scene(seed=index, world=tilted_world()).in_world()
    for name, tensor in expected.tensors().items():
        assert torch.equal(getattr(found, name), tensor), name


def test_frames_of_a_sequence_are_in_its_own_world() -> None:
    scene = sequence_scene(frames=3, world=tilted_world())
    for i in range(3):
        frame = scene.frame(i)
        assert frame.world is scene.world
        assert torch.equal(frame.means, scene.means[i])
        assert torch.equal(frame.colors, scene.colors[i])
    torch.testing.assert_close(scene.seconds, (1.0, 1.6), rtol=1e-6, atol=0)


def test_gradients_reach_every_tensor_through_at() -> None:
    scene = moving_scene(world=tilted_world()).map(lambda x: x.clone().requires_grad_())
    still = scene.at(3.1)
    loss = still.means.square().sum() + still.quats[:, 0].sum() + still.scales.sum() + still.opacities.sum() + still.colors.sum()
    loss.backward()
    for name, tensor in scene.tensors().items():
        assert tensor.grad is not None, name
        assert bool(tensor.grad.ne(0).any()), name
