"""Laws that every renderer keeps: equivariance, order, time, batching, threads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from chronosplat.cameras import Cameras, Similarity, orbit
from chronosplat.render import RasterInputs, RasterOutputs, rasterize, render
from chronosplat.scenes import Clock, GaussianSequence
from tests.render.raster_cases import gradients, random_inputs, random_rotations, random_upstream, scene_3d, scene_4d, sequence

BACKENDS = ("reference", "cpu")
TOLERANCE = {"reference": 1e-9, "cpu": 2e-5}


@pytest.fixture
def restore_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def rig(size: int = 25) -> Cameras:
    return orbit([10.0, 100.0, 235.0], [5.0, -10.0, 40.0], size=size, radius=3.0).to(dtype=torch.float64)


def change_of_world(seed: int = 0) -> Similarity:
    g = torch.Generator().manual_seed(seed)
    return Similarity(2.5, random_rotations(1, g)[0].double(), torch.tensor([3.0, -1.0, 0.5], dtype=torch.float64))


def close(a: Tensor, b: Tensor, tolerance: float) -> bool:
    return a.shape == b.shape and float((a - b).abs().max()) <= tolerance


def proper(world: Similarity) -> Similarity:
    """Rotations made from float32 are a little off; orthogonal to float64."""
    u, _, v = torch.linalg.svd(world.rotation)
    return replace(world, rotation=u @ v)


@pytest.mark.parametrize("backend", BACKENDS)
def test_world_change_of_scene_and_cameras_changes_only_depth(backend: str) -> None:
    world, scene, cameras = proper(change_of_world()), scene_3d(), rig()
    here = render(scene, cameras, backend=backend)
    there = render(replace(scene, world=world), cameras.transformed(world), backend=backend)
    assert here.alpha.max() > 0.5
    assert close(here.rgb, there.rgb, 10 * TOLERANCE[backend])
    assert close(here.alpha, there.alpha, 10 * TOLERANCE[backend])
    assert close(2.5 * here.depth, there.depth, 1e-3 if backend == "cpu" else 1e-8)


def test_gaussians_in_world_coordinates_render_the_same_image() -> None:
    world, scene, cameras = proper(change_of_world(1)), scene_3d(1), rig()
    kept = render(replace(scene, world=world), cameras.transformed(world), backend="reference")
    moved = render(replace(scene, world=world).in_world(), cameras.transformed(world), backend="reference")
    assert close(kept.rgb, moved.rgb, 1e-8)
    assert close(kept.depth, moved.depth, 1e-7)


@pytest.mark.parametrize("backend", BACKENDS)
def test_order_of_gaussians_does_not_matter(backend: str) -> None:
    x = random_inputs(seed=4, moving=True, views=2)
    shuffle = torch.randperm(x.means.shape[1], generator=torch.Generator().manual_seed(0))
    y = x.with_gaussians([None if t is None else t[:, shuffle] for t in x.gaussians()])
    a, b = rasterize(x, backend), rasterize(y, backend)
    assert not torch.equal(x.means, y.means)
    for name in ("rgb", "alpha", "depth"):
        assert close(getattr(a, name), getattr(b, name), 1e-12), name


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("seconds", [0.0, 3.7, 6.0])
def test_moving_scene_equals_the_static_scene_at_that_time(backend: str, seconds: float) -> None:
    scene = replace(scene_4d(2), world=proper(change_of_world(2)), clock=Clock(3.0, 3.0), seconds=(0.0, 6.0))
    cameras = rig().transformed(scene.world)
    moving = render(scene, cameras, [seconds] * 3, backend=backend, cull=False)
    static = render(scene.at(seconds), cameras, backend=backend)
    assert moving.alpha.max() > 0.3
    assert close(moving.rgb, static.rgb, 20 * TOLERANCE[backend])
    assert close(moving.alpha, static.alpha, 20 * TOLERANCE[backend])


@pytest.mark.parametrize("backend", BACKENDS)
def test_huge_time_sigma_without_velocity_is_static(backend: str) -> None:
    x = random_inputs(seed=5, views=3, moving=True)
    assert x.velocities is not None
    assert x.time_sigmas is not None
    still = replace(x, velocities=torch.zeros_like(x.velocities), time_sigmas=torch.full_like(x.time_sigmas, 1e6))
    static = replace(x, velocities=None, time_centers=None, time_sigmas=None, times=None)
    assert close(rasterize(still, backend).rgb, rasterize(static, backend).rgb, 1e-6)
    assert not close(rasterize(x, backend).rgb, rasterize(static, backend).rgb, 1e-2)


@pytest.mark.parametrize("backend", BACKENDS)
def test_batched_equals_looped(backend: str) -> None:
    x = random_inputs(seed=6, gaussians=60, scenes=3, views=2, moving=True)
    together = rasterize(x, backend)
    for b in range(3):
        for v in range(2):
            alone = x.map(lambda t, b=b: t[b : b + 1])
            assert alone.times is not None
            some = slice(v, v + 1)
            alone = replace(alone, viewmats=alone.viewmats[:, some], Ks=alone.Ks[:, some], times=alone.times[:, some])
            out = rasterize(alone, backend)
            for name in ("rgb", "alpha", "depth"):
                assert torch.equal(getattr(out, name)[0, 0], getattr(together, name)[b, v]), name


@pytest.mark.parametrize("frames", [16, 17, 33])
def test_frames_beyond_one_call_are_rendered_in_order(frames: int) -> None:
    scene, cameras = scene_4d(3), orbit([11.0 * i for i in range(frames)], size=16, radius=3.0).to(dtype=torch.float64)
    times = [i / frames for i in range(frames)]
    whole = render(scene, cameras, times, backend="cpu")
    assert whole.rgb.shape == (frames, 16, 16, 3)
    for i in (0, 15, frames - 1):
        assert torch.equal(render(scene, cameras[i], times[i : i + 1], backend="cpu").rgb[0], whole.rgb[i])


@pytest.mark.usefixtures("restore_threads")
def test_threads_do_not_change_a_bit() -> None:
    x = random_inputs("opaque", seed=7, gaussians=3000, scenes=2, views=2, width=75, height=41, moving=True)
    everywhere = torch.ones(2, 2, 41, 75, 1, dtype=torch.bool)
    upstream = random_upstream(x, everywhere)
    found: list[tuple[RasterOutputs, dict[str, Tensor]]] = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(gradients(x, upstream, "cpu"))
    (one, grad_one), (two, grad_two) = found
    assert torch.equal(one.rgb, two.rgb)
    assert torch.equal(one.depth, two.depth)
    assert all(float(g.abs().max()) > 0 for g in grad_one.values())
    for name in grad_one:
        assert torch.equal(grad_one[name], grad_two[name]), name


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("empty", ["gaussians", "cameras"])
def test_empty_inputs_give_blank_images_and_zero_gradients(backend: str, empty: str) -> None:
    sizes = {"gaussians": 0 if empty == "gaussians" else 5, "views": 0 if empty == "cameras" else 2}
    x = random_inputs(seed=0, moving=True, **sizes)
    upstream = random_upstream(x, torch.ones(1, sizes["views"], x.height, x.width, 1, dtype=torch.bool))
    out, found = gradients(x, upstream, backend)
    assert out.rgb.shape == (1, sizes["views"], x.height, x.width, 3)
    assert not out.rgb.any()
    assert not out.alpha.any()
    assert all(not g.any() for g in found.values())


def test_scene_without_gaussians_is_the_background() -> None:
    out = render(scene_3d().map(lambda t: t[:0]), rig(), background="gray")
    assert torch.equal(out.rgb, torch.full_like(out.rgb, 0.5))
    assert not out.alpha.any()
    assert not out.depth.any()


def test_no_cameras_give_no_images() -> None:
    out = render(scene_3d(), rig()[:0])
    assert out.rgb.shape == (0, 25, 25, 3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_sequence_renders_the_nearest_frame(backend: str) -> None:
    scene: GaussianSequence = sequence()
    cameras = rig()
    out = render(scene, cameras, [0.4, 1.6, 9.0], backend=backend)
    for i, frame in enumerate((0, 2, 2)):
        assert close(out.rgb[i], render(scene.frame(frame), cameras[i], backend=backend).rgb[0], 1e-12)
    assert not close(out.rgb[1], render(scene.frame(1), cameras[1], backend=backend).rgb[0], 1e-2)


def test_mapped_inputs_keep_their_settings() -> None:
    x = replace(random_inputs(moving=True), near_plane=0.5)
    y: RasterInputs = x.map(lambda t: t * 2)
    assert (y.near_plane, y.width, y.height) == (0.5, x.width, x.height)
    assert torch.equal(y.means, 2 * x.means)
