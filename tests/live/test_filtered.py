"""What the live viewer sends: the Gaussians of one time, without those that are hidden."""

from __future__ import annotations

import socket
from dataclasses import replace

import numpy as np
import pytest
import torch

from chronosplat.edit import edit, history
from chronosplat.live.filtered import Filter, bounds, splats_at
from chronosplat.live.server import LiveOptions, check_port
from chronosplat.scenes import Scene
from chronosplat.shapes import InputError
from tests.scene_kit import covariances, moving_scene, sequence_scene, static_scene, tilted_world


def test_all_is_shown_by_default() -> None:
    scene = replace(static_scene(6), opacities=torch.linspace(0.1, 0.9, 6))
    means, shapes, colors, opacities = splats_at(scene, 0.0, Filter())
    np.testing.assert_array_equal(means, scene.means.numpy())
    np.testing.assert_allclose(shapes, covariances(scene).float().numpy(), rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(colors, scene.colors.numpy())
    np.testing.assert_array_equal(opacities[:, 0], scene.opacities.numpy())


def test_scale_acts_on_lengths() -> None:
    scene = static_scene(4)
    plain, doubled = (splats_at(scene, 0.0, Filter(scale=factor))[1] for factor in (1.0, 2.0))
    np.testing.assert_allclose(doubled, 4 * plain, rtol=1e-5)


def test_faint_gaussians_and_those_outside_the_box_are_hidden() -> None:
    scene = replace(static_scene(3, world=tilted_world()), opacities=torch.tensor([0.2, 0.8, 0.8]))
    assert len(splats_at(scene, 0.0, Filter(opacity=0.5))[0]) == 2
    point = tilted_world().points(scene.means[1])
    box = ((point - 1e-3).tolist(), (point + 1e-3).tolist())
    np.testing.assert_array_equal(splats_at(scene, 0.0, Filter(opacity=0.5, box=box))[0], scene.means[1:2].numpy())


def test_what_is_hidden_becomes_edits() -> None:
    scene = replace(static_scene(3, world=tilted_world()), opacities=torch.tensor([0.2, 0.8, 0.8]))
    point = tilted_world().points(scene.means[1])
    hidden = Filter(opacity=0.5, box=((point - 1e-3).tolist(), (point + 1e-3).tolist()))
    saved = edit(scene, hidden.edits())
    np.testing.assert_array_equal(splats_at(saved, 0.0, Filter())[0], splats_at(scene, 0.0, hidden)[0])
    assert [step.name for step in history(saved)] == ["floaters", "crop"]
    assert not Filter(scale=2.0).edits()


@pytest.mark.parametrize("scene", [static_scene(50), moving_scene(50), sequence_scene()], ids=["static", "moving", "sequence"])
def test_bounds_hold_nearly_all(scene: Scene) -> None:
    low, high = bounds(scene, scene.timestamps(3) or [0.0])
    means = scene.tensors()["means"].reshape(-1, 3)
    inside = ((means >= low) & (means <= high)).all(-1).float().mean()
    assert float(inside) > 0.8
    assert bool((high > low).all())


def test_a_port_in_use_is_refused_with_a_free_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"^port: {port} on 127\.0\.0\.1 is in use or not allowed; choose port=\d+$") as error:
            check_port(LiveOptions(port=port))
        check_port(LiveOptions(port=error.value.arguments["port"]))


@pytest.mark.parametrize("port", [0, -1, 70000])
def test_ports_out_of_range_are_refused(port: int) -> None:
    with pytest.raises(InputError, match=f"port: {port} "):
        check_port(LiveOptions(port=port))
