"""The start of an optimisation: a thinned prediction, or random points in the visual hull."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from chronosplat.cameras import orbit
from chronosplat.captures import Views
from chronosplat.refine import random_in_hull
from chronosplat.refine import start as start_module
from chronosplat.refine.coverage import timestamp_spacing
from chronosplat.refine.start import OPACITY, PER_PIXEL, count_for, subsample_and_widen
from chronosplat.shapes import InputError
from tests.refine.kit import SIZE, blobs, same, timestamps, views
from tests.scene_kit import project, tilted_world

TIMES = torch.linspace(-1, 1, 24)
PIXELS = torch.full((24, 2, 10, 4), 255, dtype=torch.uint8)  # 20 pixels covered in each: 70 Gaussians


@pytest.fixture
def no_least(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small clouds are thinned, too."""
    monkeypatch.setattr(start_module, "MIN_GAUSSIANS", 1)


def test_the_count_follows_the_pixels_that_the_object_covers(no_least: None) -> None:
    assert count_for(PIXELS) == round(PER_PIXEL * 20)
    assert count_for(PIXELS // 2) == round(PER_PIXEL * 20 * 127 / 255)
    assert count_for(torch.zeros(2, 8, 8, 4, dtype=torch.uint8)) == 1


def test_the_count_of_large_images_is_bounded() -> None:
    large = torch.full((2, 300, 300, 4), 255, dtype=torch.uint8)
    assert count_for(large) == start_module.MAX_GAUSSIANS < PER_PIXEL * 300 * 300


def test_a_cloud_is_thinned_and_its_gaussians_live_longer(no_least: None) -> None:
    scene = replace(blobs(), time_sigmas=torch.linspace(0.01, 2.0, 300))
    width = 3.5 * timestamp_spacing(TIMES)
    fields = subsample_and_widen(scene, PIXELS, TIMES, 3.5, 0)
    assert all(len(t) == 70 for t in fields.values())
    assert float(fields["time_sigmas"].min()) == pytest.approx(width)
    assert float(fields["time_sigmas"].max()) > width
    assert not fields["velocities"].any()
    assert bool((fields["opacities"] == OPACITY).all())
    kept = torch.cdist(fields["means"], scene.means).argmin(1)
    torch.testing.assert_close(fields["scales"], scene.scales[kept] * (300 / 70) ** (1 / 3))
    assert len(kept.unique()) == 70


def test_small_clouds_stay_whole() -> None:
    fields = subsample_and_widen(blobs(), PIXELS, TIMES, 3.5, 0)
    assert torch.equal(fields["means"], blobs().means)
    torch.testing.assert_close(fields["scales"], blobs().scales)


def test_a_single_timestamp_keeps_its_time_sigmas() -> None:
    fields = subsample_and_widen(blobs(), PIXELS, torch.zeros(24), 3.5, 0)
    assert torch.equal(fields["time_sigmas"], blobs().time_sigmas)


def test_thinning_depends_on_the_seed_alone(no_least: None) -> None:
    torch.manual_seed(1)
    one = subsample_and_widen(blobs(), PIXELS, TIMES, 3.5, 5)
    torch.manual_seed(2)
    two = subsample_and_widen(blobs(), PIXELS, TIMES, 3.5, 5)
    other = subsample_and_widen(blobs(), PIXELS, TIMES, 3.5, 6)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["means"], other["means"])


def test_faint_gaussians_are_drawn_rarely(no_least: None) -> None:
    faint = torch.arange(300) % 2 == 0
    scene = replace(blobs(), opacities=torch.where(faint, 0.01, 0.9), means=torch.arange(300.0)[:, None].expand(300, 3).clone())
    drawn = torch.cat([subsample_and_widen(scene, PIXELS, TIMES, 3.5, seed)["means"][:, 0] for seed in range(10)]).long()
    assert float(faint[drawn].double().mean()) < 0.06
    never = replace(scene, opacities=torch.where(faint, 0.0, 0.9))
    assert not faint[subsample_and_widen(never, PIXELS, TIMES, 3.5, 0)["means"][:, 0].long()].any()


def inside(views: Views, points: torch.Tensor, view: int) -> torch.Tensor:
    """Which points of the capture's world lie in a view's silhouette, to the next pixel."""
    pixels, depths = project(views.cameras, points)
    at = pixels[view].floor().long()
    assert bool((depths[view] > 0).all())
    grown = torch.nn.functional.max_pool2d(views.alphas[view, None, :, :, 0], 3, 1, 1)[0]
    return (at >= 0).all(1) & (at < SIZE).all(1) & (grown[at[:, 1].clamp(0, SIZE - 1), at[:, 0].clamp(0, SIZE - 1)] > 0.3)


def test_random_points_lie_in_the_silhouettes_of_their_timestamp() -> None:
    cloud = random_in_hull(views(), 400)
    assert cloud.num_gaussians == 400
    seconds = cloud.clock.seconds(cloud.time_centers)
    points = cloud.world.points(cloud.means)
    for view, timestamp in enumerate(timestamps()):
        mine = (seconds - timestamp).abs() < 1e-3
        assert bool(inside(views(), points[mine], view).all())
    assert len(seconds.unique()) > 12
    assert cloud.seconds == views().seconds
    assert float(cloud.scales.min()) > 0


def test_random_points_are_in_the_capture_s_world() -> None:
    world = tilted_world()
    turned = replace(views(), cameras=views().cameras.transformed(world))
    here, there = random_in_hull(views(), 200), random_in_hull(turned, 200)
    points = there.world.points(there.means)
    seconds = there.clock.seconds(there.time_centers)
    for view, timestamp in enumerate(timestamps()):
        assert bool(inside(turned, points[(seconds - timestamp).abs() < 1e-3], view).all())
    assert there.world.scale == pytest.approx(2.5 * here.world.scale, rel=1e-6)


def test_random_points_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    one = random_in_hull(views(), 100, seed=4)
    torch.manual_seed(2)
    assert same(one, random_in_hull(views(), 100, seed=4))
    assert not torch.equal(one.means, random_in_hull(views(), 100, seed=5).means)


def test_random_points_have_the_colours_that_are_seen() -> None:
    cloud = random_in_hull(views(), 300)
    assert float(cloud.colors.min()) >= 0
    assert float(cloud.colors.max()) <= 1
    assert float((cloud.colors[:, 0] > cloud.colors[:, 2]).double().mean()) == pytest.approx(0.5, abs=0.25)  # red and blue


def test_cameras_of_double_precision_do_as_well() -> None:
    given = views()
    double = Views(given.images.double(), given.alphas.double(), given.cameras.to(dtype=torch.float64), given.times)
    assert random_in_hull(double, 50).num_gaussians == 50


def test_silhouettes_with_nothing_in_common_are_refused() -> None:
    alphas = torch.zeros(2, SIZE, SIZE, 1)
    alphas[0, :8], alphas[1, 24:] = 1, 1
    apart = Views(torch.zeros(2, SIZE, SIZE, 3), alphas, orbit([0.0, 90.0], size=SIZE), torch.zeros(2, dtype=torch.float64))
    with pytest.raises(InputError, match="silhouettes do not intersect"):
        random_in_hull(apart, 50)


def test_an_empty_capture_is_refused() -> None:
    with pytest.raises(InputError, match="silhouettes do not intersect"):
        random_in_hull(replace(views(), alphas=torch.zeros_like(views().alphas)), 50)
