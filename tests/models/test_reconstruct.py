"""From views to a scene in the capture's own world and seconds."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch

from chronosplat.cameras import CANONICAL, Cameras, Similarity, orbit
from chronosplat.captures import Views, spread_views
from chronosplat.models import find_model, load_model
from chronosplat.models.lrm4d import LRM4D, Frames, LRM4DConfig, MovingHeadConfig
from chronosplat.models.lrm4d.reconstruct import network_clock, network_views, reconstruct
from chronosplat.render import render
from chronosplat.scenes import quats_to_matrices
from tests.models.test_sweep import sphere_views

CPU = torch.device("cpu")


def views(size: int = 32, width: int | None = None, seconds: tuple[float, float] = (0.0, 0.0)) -> Views:
    """A sphere seen by four canonical cameras."""
    cameras = orbit(CANONICAL, 0.0, size).to(dtype=torch.float64)
    cameras = cameras if width is None else Cameras(cameras.viewmats, cameras.Ks, width, size)
    images, alphas, _ = sphere_views(cameras)
    times = torch.linspace(*seconds, 4, dtype=torch.float64)
    return Views(images.float(), alphas.float(), cameras, times, torch.tensor([0.0, 1.0, 0.0]))


def tiny() -> LRM4D:
    torch.manual_seed(0)
    return LRM4D(LRM4DConfig(layers=2, width=64, heads=2, head=MovingHeadConfig(), qk_norm=True)).eval()


def moved(original: Views, world: Similarity) -> Views:
    assert original.up is not None
    return replace(original, cameras=original.cameras.transformed(world), up=world.directions(original.up))


WORLD = Similarity(
    4.0, quats_to_matrices(torch.tensor([0.8, 0.3, -0.4, 0.1], dtype=torch.float64)), torch.tensor([10.0, -3.0, 2.0], dtype=torch.float64)
)


def test_shipped_model_covers_the_silhouette() -> None:
    x = views()
    out = render(load_model("4d-lrm-mini").reconstruct(x), x.cameras, x.times)
    covered, wanted = out.alpha > 0.5, x.alphas > 0.5
    overlap = (covered & wanted).sum() / (covered | wanted).sum()
    assert float(overlap) > 0.85


def test_scene_is_in_the_capture_s_world() -> None:
    x = moved(views(), WORLD)
    scene = load_model("4d-lrm-mini").reconstruct(x)
    out = render(scene, x.cameras, x.times)
    covered, wanted = out.alpha > 0.5, x.alphas > 0.5
    assert float((covered & wanted).sum() / (covered | wanted).sum()) > 0.85
    centre = scene.at(0.0).means.mean(0)
    assert float((centre.double() - WORLD.translation).norm()) < 0.5 * 0.4 * WORLD.scale
    model = load_model("4d-lrm-mini")
    plain = render(model.reconstruct(views()), views().cameras, views().times)
    depth, before = (o.depth[:, 14:18, 14:18].mean().item() for o in (out, plain))
    assert depth == pytest.approx(WORLD.scale * before, rel=0.02)
    assert 1.5 - 0.4 - 0.1 < before < 1.5  # on the near side of the sphere's middle


def test_the_world_of_the_capture_does_not_matter() -> None:
    """Scaled, rotated and shifted, with up rotated too: the same images."""
    model, x = tiny(), views(seconds=(2.0, 5.0))
    y = moved(x, WORLD)
    here = render(reconstruct(model, x, CPU), x.cameras, x.times, backend="cpu")
    there = render(reconstruct(model, y, CPU), y.cameras, y.times, backend="cpu")
    assert here.alpha.max() > 0.3
    assert float((here.rgb - there.rgb).abs().mean()) < 1e-7
    assert float((here.rgb - there.rgb).abs().max()) < 5e-3  # a pixel may flip at a threshold


def test_network_sees_the_normalised_capture() -> None:
    seen = []
    model = tiny()
    reconstruct(lambda frames: seen.append(frames) or model(frames), moved(views(seconds=(2.0, 5.0)), WORLD), CPU)
    frames = seen[0]
    assert torch.allclose(frames.times, torch.tensor([[-1.0, -1 / 3, 1 / 3, 1.0]]), atol=1e-6)
    expected = orbit(CANONICAL, 0.0, 32).viewmats
    assert torch.allclose(frames.viewmats[0], expected, atol=1e-6)
    assert bool((frames.rgb[frames.alpha.expand_as(frames.rgb) == 0] == 1).all())


def test_static_captures_give_static_scenes() -> None:
    scene = reconstruct(tiny(), views(), CPU)
    assert not scene.velocities.any()
    assert not scene.time_centers.any()
    assert float(scene.time_sigmas.min()) == 1e6
    cameras = views().cameras[[0]]
    assert torch.allclose(render(scene, cameras, [0.0]).rgb, render(scene, cameras, [100.0]).rgb, atol=1e-6)


def test_moving_captures_keep_their_seconds() -> None:
    scene = reconstruct(tiny(), views(seconds=(2.0, 5.0)), CPU)
    assert scene.seconds == (2.0, 5.0)
    assert scene.clock.seconds(torch.tensor([-1.0, 1.0])).tolist() == pytest.approx([2.0, 5.0])
    assert bool((scene.time_sigmas < 10).all())


def test_invisible_gaussians_are_left_out() -> None:
    x = views()
    scene = reconstruct(tiny(), x, CPU)
    assert 0 < scene.num_gaussians <= int((x.alphas > 0).sum())
    assert float(scene.opacities.min()) >= 1 / 255


def test_other_sizes_are_resized_with_a_notice(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="chronosplat"):
        scene = reconstruct(tiny(), views(30, width=27), CPU)
    assert scene.num_gaussians > 0
    assert len(caplog.records) == 1
    assert "27x30" in caplog.records[0].message


def many(count: int = 60, size: int = 16) -> Views:
    """A sphere seen by twelve cameras in turn."""
    cameras = orbit([30.0 * i for i in range(12)], 0.0, size)[[i % 12 for i in range(count)]]
    images, alphas, _ = sphere_views(cameras)
    return Views(images, alphas, cameras, torch.linspace(2, 5, count, dtype=torch.float64), torch.tensor([0.0, 1.0, 0.0]))


def test_the_network_sees_no_more_views_than_in_training(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Frames] = []
    x, model = many(), tiny()
    with caplog.at_level(logging.INFO, logger="chronosplat"):
        scene = reconstruct(lambda frames: seen.append(frames) or model(frames), x, CPU)
    assert seen[0].rgb.shape == (1, 24, 16, 16, 3)
    chosen = spread_views(x.cameras, x.times, 24)
    assert torch.equal(seen[0].rgb[0], x[chosen].on_white())
    assert seen[0].times[0, [0, -1]].tolist() == [-1.0, 1.0]
    assert scene.seconds == x.seconds
    assert [record.message for record in caplog.records] == ["the prediction takes 24 of 60 views"]


def test_a_scene_of_few_views_is_that_of_the_chosen_ones() -> None:
    x, model = many(), tiny()
    found, expected = model.reconstruct(x), model.reconstruct(x[spread_views(x.cameras, x.times, 24)])
    for name, value in expected.tensors().items():
        assert torch.equal(found.tensors()[name], value), name


def test_the_network_sees_no_larger_views_than_in_training(caplog: pytest.LogCaptureFixture) -> None:
    model, x = LRM4D(replace(tiny().config, max_size=16, max_views=3)).eval(), views(32, width=24)
    seen = network_views(x, 3, 16)
    assert (len(seen), seen.cameras.width, seen.cameras.height) == (3, 16, 16)  # 12x16, to sides divisible by 8
    with caplog.at_level(logging.INFO, logger="chronosplat"):
        assert model.reconstruct(x).num_gaussians <= 3 * 16 * 16
    assert "3 of 4 views, resized from 24x32 to 16x16 pixels" in caplog.records[0].message


def test_shipped_models_state_what_they_were_trained_on() -> None:
    for name, size in (("4d-lrm-mini", 128), ("4d-lrm-base", 256), ("4d-lrm-large", 256)):
        spec = find_model(name)
        assert (spec.config.max_views, spec.config.max_size, spec.inputs.size) == (24, size, size)


def test_whole_sizes_give_no_notice(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="chronosplat"):
        reconstruct(tiny(), views(24, width=40), CPU)
    assert not caplog.records


def test_network_clock() -> None:
    clock = network_clock(torch.tensor([2.0, 6.0, 3.0]))
    assert clock.scene_time(torch.tensor([2.0, 4.0, 6.0])).tolist() == [-1.0, 0.0, 1.0]
    assert network_clock(torch.tensor([7.0, 7.0])).scene_time(torch.tensor([7.0])).tolist() == [0.0]
