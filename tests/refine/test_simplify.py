"""Views are reduced to what they show: one camera of several that look the same way, one timestamp of an object at rest."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from chronosplat.cameras import CANONICAL, orbit
from chronosplat.captures import Views
from chronosplat.events import Events, Notice
from chronosplat.refine import fit, needs_prediction, simplified
from chronosplat.refine.simplify import is_still
from chronosplat.refine.solid.config import SolidConfig
from chronosplat.scenes import DeformableGaussians, Gaussians4D
from tests.refine.kit import blobs, few, front_facing, moving, still, timestamps, video, video_views, views, views_of
from tests.refine.solid.kit import bar
from tests.refine.solid.kit import video as bar_video


def seen(azimuths: list[float], frames: int, at_rest: bool = False) -> Views:
    """The blobs from cameras at every timestamp."""
    times = timestamps(frames).repeat_interleave(len(azimuths))
    return views_of(still() if at_rest else blobs(), orbit(azimuths * frames, size=32), times)


def noisy(views: Views, sigma: float = 0.02) -> Views:
    """The same with noise of the colours, as a video's compression leaves it."""
    noise = sigma * torch.randn(views.images.shape, generator=torch.Generator().manual_seed(1))
    return replace(views, images=(views.images + noise).clamp(0, 1), alphas=views.alphas)


def reduced(views: Views, strategy: str = "auto") -> tuple[Views, list[Notice]]:
    """The simplified views, and what was said."""
    said: list[Notice] = []
    return simplified(views, few(strategy=strategy), Events(notice=said.append)), said


def test_good_captures_stay_as_they_are() -> None:
    for given in (views(), video_views(), front_facing(), seen([*CANONICAL], 3), views_of(moving(), *video(6, sides=False))):
        found, said = reduced(given)
        assert found is given
        assert said == []


def test_noise_is_no_motion_and_motion_is_no_noise() -> None:
    assert is_still(noisy(seen([*CANONICAL], 4, at_rest=True)))
    assert not is_still(noisy(seen([*CANONICAL], 4)))
    assert not is_still(views_of(still(), orbit([*CANONICAL], size=32), timestamps(4)))  # no camera takes two images


def test_half_a_pixel_of_motion_is_motion() -> None:
    given = seen([0.0, 90.0], 2, at_rest=True)
    moved = given.cameras.viewmats.clone()
    moved[2:, 0, 3] += 0.5 * 1.5 / float(given.cameras.Ks[0, 0, 0])  # half a pixel at the object
    there = views_of(still(), replace(given.cameras, viewmats=moved), given.times)
    assert not is_still(replace(given, images=there.images, alphas=there.alphas))


def test_a_still_capture_becomes_a_static_scene() -> None:
    given = noisy(seen([*CANONICAL], 4, at_rest=True))
    found, (notice,) = reduced(given)
    assert (notice.level, notice.code) == ("info", "still")
    assert str(notice) == "the object does not move: its 4 timestamps are taken as one"
    assert len(found) == len(given)
    assert found.seconds == (0.0, 0.0)
    assert reduced(found) == (found, [])
    scene = fit(given, few(40, strategy="deform")).scene
    assert isinstance(scene, DeformableGaussians)
    assert torch.equal(scene.at(0.0).means, scene.at(2.0).means)
    assert len(scene.knots) == 1


def test_a_still_object_before_one_camera_is_one_image() -> None:
    given = noisy(seen([0.0], 4, at_rest=True))
    assert len(reduced(given)[0]) == 1


def test_of_cameras_that_look_the_same_way_one_makes_a_solid_body() -> None:
    given = seen([-3.0, 0.0, 3.0, 6.0], 6)
    found, (notice,) = reduced(given)
    assert (notice.level, notice.code) == ("info", "cameras-left-out")
    assert str(notice) == (
        "all cameras look the same way: camera 0 alone makes a solid body, 18 of 24 views are left out; strategy=gentle uses all"
    )
    assert torch.equal(found.pixels, given.pixels[::4])
    assert reduced(found) == (found, [])
    assert reduced(given, "gentle") == (given, [])
    assert not needs_prediction(found, few())
    short = few(10, solid=SolidConfig(rounds=2, steps=2, joint=2, residuals=2))
    assert fit(given, short).facts["strategy"] == "solid"


def test_a_camera_that_moves_a_little_stays_whole() -> None:
    given = views_of(blobs(), orbit([1.0 * i for i in range(9)], size=32), timestamps(9))
    assert reduced(given) == (given, [])


def test_without_masks_no_camera_is_left_out() -> None:
    given = seen([0.0, 5.0], 4)
    bare = replace(given, images=given.on_white(), alphas=torch.ones_like(given.alphas))
    assert reduced(bare) == (bare, [])


def test_a_sparse_capture_of_a_moving_scene_is_fitted_over_time() -> None:
    assert isinstance(fit(views(), few(5, strategy="free")).scene, Gaussians4D)


def at_rest(noise: float = 0.0, count: int = 6) -> Views:
    """A bar that does not move before one camera, with noise in gray levels, the same for all channels, in and around it."""
    rng = torch.Generator().manual_seed(0)
    alpha, colors = bar(24, 24, 0.5, 26, 11)
    frames = [(alpha, (colors + noise / 255 * torch.randn(48, 48, 1, generator=rng)).clamp(0, 1)) for _ in range(count)]
    return bar_video(frames)


def with_blocks(views: Views, levels: float, size: int = 8) -> Views:
    """The video's colours with errors per block, as coarse compression leaves them."""
    rng = torch.Generator().manual_seed(1)
    errors = levels / 255 * (2 * torch.rand(len(views), 48 // size, 48 // size, 3, generator=rng) - 1)
    return replace(
        views, images=(views.images + errors.repeat_interleave(size, 1).repeat_interleave(size, 2)).clamp(0, 1), alphas=views.alphas
    )


@pytest.mark.parametrize("views", [at_rest(), at_rest(5.0), with_blocks(at_rest(2.0), 5.0)], ids=["equal", "camera noise", "compression"])
def test_noise_of_a_video_is_not_motion(views: Views) -> None:
    assert is_still(views)


@pytest.mark.parametrize(("pixels", "radians"), [(0.5, 0.0), (0.0, 0.06), (3.0, 0.0)])
def test_a_small_motion_of_a_video_is_one(pixels: float, radians: float) -> None:
    assert not is_still(bar_video([bar(24 + pixels * (i % 2), 24, 0.5 + radians * (i % 2), 26, 11) for i in range(6)]))


def test_a_change_in_one_frame_is_seen() -> None:
    """As a blink."""
    views = at_rest(1.0, 12)
    images = views.images.clone()
    images[7, 22:26, 22:26] = 0.9
    assert not is_still(replace(views, images=images, alphas=views.alphas))
