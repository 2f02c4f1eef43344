"""Views as square images of a given field of view around the principal point."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from chronosplat.cameras import FOVY, Cameras, intrinsics, orbit
from chronosplat.captures import Views
from chronosplat.events import info
from tests.scene_kit import law

STEP = 0.2  # of colour per unit of direction: no camera here looks further than 2.5 units aside

NOTICE = info("code", "a notice")


def directions(Ks: Tensor, width: int, height: int) -> Tensor:
    """[F, H, W, 2] where each pixel's middle looks, to the right and down at depth 1."""
    x = (torch.arange(width) + 0.5 - Ks[:, 0, 2, None]) / Ks[:, 0, 0, None]
    y = (torch.arange(height) + 0.5 - Ks[:, 1, 2, None]) / Ks[:, 1, 1, None]
    return torch.stack([x[:, None, :].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)], -1)


def seen(Ks: Tensor, width: int, height: int) -> Views:
    """TrainingViews whose colours tell the direction of each pixel, covered everywhere."""
    Ks = Ks.double()
    way = directions(Ks, width, height)
    images = torch.cat([0.5 + STEP * way, torch.full_like(way[..., :1], 0.25)], -1).float()
    viewmats = orbit([20.0 * i for i in range(len(Ks))], 10.0, 8).viewmats.double()
    times = torch.arange(len(Ks), dtype=torch.float64)
    return Views(images, torch.ones_like(images[..., :1]), Cameras(viewmats, Ks, width, height), times, torch.ones(3), (NOTICE,))


def camera(width: int, height: int, fovy: float, stretch: float = 1.0, dx: float = 0.0, dy: float = 0.0) -> Tensor:
    """[1, 3, 3] pixels that are ``stretch`` times as high as wide, the principal point off the middle by (dx, dy)."""
    K = intrinsics(width, height, fovy).clone()
    K[0, 0] *= stretch
    K[0, 2] += dx
    K[1, 2] += dy
    return K[None]


def check_framed(views: Views, fovy: float, size: int) -> Views:
    """That each pixel shows the direction that it should, within a source pixel, and is empty where nothing was seen."""
    found = views.framed(fovy, size)
    Ks = intrinsics(size, size, fovy).expand(len(views), 3, 3)
    torch.testing.assert_close(found.cameras.Ks, Ks.to(found.cameras.Ks), atol=0, rtol=1e-6)
    assert (found.cameras.width, found.cameras.height) == (size, size)
    assert found.images.shape == (len(views), size, size, 3)
    wanted = directions(Ks, size, size)
    for i in range(len(views)):
        source = views.cameras.Ks[i]
        pixel = 1 / torch.stack([source[0, 0], source[1, 1]])
        grain = torch.maximum(pixel, torch.full_like(pixel, 1 / float(Ks[i, 0, 0])))
        middle, reach = source[:2, 2], torch.tensor([views.cameras.width, views.cameras.height])
        low, high = -middle * pixel, (reach - middle) * pixel
        inside = ((wanted[i] > low + 2 * grain) & (wanted[i] < high - 2 * grain)).all(-1)
        outside = ((wanted[i] < low - 2 * grain) | (wanted[i] > high + 2 * grain)).any(-1)
        assert bool((found.alphas[i, ..., 0][inside] > 0.999).all())
        assert not found.alphas[i, ..., 0][outside].any()
        shown = (found.images[i, ..., :2] - 0.5) / STEP
        error = (shown - wanted[i]).abs()[inside]
        assert error.numel() == 0 or bool((error <= pixel + 1e-5).all())
        assert bool((found.images[i, ..., 2][found.alphas[i, ..., 0] > 0.5] - 0.25).abs().max() < 1e-5)
    return found


@pytest.mark.parametrize(("fovy", "size"), [(FOVY, 32), (FOVY, 256), (30.0, 17), (90.0, 64)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_images_that_are_framed_already_stay_as_they_are(fovy: float, size: int, dtype: torch.dtype) -> None:
    views = seen(camera(size, size, fovy).to(dtype), size, size)
    found = views.framed(fovy, size)
    assert torch.equal(found.images, views.images)
    assert torch.equal(found.alphas, views.alphas)
    torch.testing.assert_close(found.cameras.Ks, views.cameras.Ks, rtol=1e-6, atol=0)


def test_what_is_not_in_the_images_stays() -> None:
    views = seen(torch.cat([camera(48, 36, fovy) for fovy in (40.0, 50.0, 60.0)]), 48, 36)
    found = views.framed(FOVY, 16)
    assert torch.equal(found.cameras.viewmats, views.cameras.viewmats)
    assert torch.equal(found.times, views.times)
    assert found.up is views.up
    assert found.notices == (NOTICE,)


def test_every_view_has_its_own_intrinsics() -> None:
    Ks = torch.cat([camera(48, 36, 40.0), camera(48, 36, 60.0, 1.3), camera(48, 36, 50.0, 1.0, 5, -4)])
    views = seen(Ks, 48, 36)
    found = check_framed(views, FOVY, 32)
    for i in range(3):
        assert torch.equal(found.images[i], views[[i]].framed(FOVY, 32).images[0])


def test_a_wider_field_of_view_is_padded_with_nothing() -> None:
    found = check_framed(seen(camera(40, 40, 30.0), 40, 40), 60.0, 64)
    covered = found.alphas[0, ..., 0] > 0.5
    share = math.tan(math.radians(15)) / math.tan(math.radians(30))
    assert float(covered.float().mean()) == pytest.approx(share**2, abs=0.02)
    assert not covered[0].any()
    assert not covered[:, -1].any()
    assert bool(covered[32, 32])


def test_a_narrower_field_of_view_crops() -> None:
    found = check_framed(seen(camera(80, 80, 60.0), 80, 80), 30.0, 32)
    assert bool((found.alphas > 0.999).all())


@pytest.mark.parametrize(("width", "height"), [(96, 54), (54, 96), (33, 70)])
def test_images_that_are_not_square(width: int, height: int) -> None:
    check_framed(seen(camera(width, height, 50.0), width, height), FOVY, 40)


@pytest.mark.parametrize(("dx", "dy"), [(7, 0), (0, -9), (-13.5, 11.5), (30, 30)])
def test_the_principal_point_moves_to_the_middle(dx: float, dy: float) -> None:
    found = check_framed(seen(camera(64, 64, 45.0, 1.0, dx, dy), 64, 64), FOVY, 48)
    middle = found.images[0, 23:25, 23:25, :2].mean((0, 1))
    torch.testing.assert_close(middle, torch.full((2,), 0.5), atol=1e-5, rtol=0)


@pytest.mark.parametrize("stretch", [0.5, 0.9, 1.1, 2.0])
def test_pixels_that_are_not_square_become_so(stretch: float) -> None:
    check_framed(seen(camera(64, 48, 50.0, stretch), 64, 48), FOVY, 40)


@law
@given(
    st.integers(16, 60), st.integers(16, 60), st.floats(25, 80), st.floats(0.6, 1.7), st.floats(-8, 8), st.floats(-8, 8), st.floats(25, 80)
)
def test_any_pinhole_camera(width: int, height: int, fovy: float, stretch: float, dx: float, dy: float, wanted: float) -> None:
    check_framed(seen(camera(width, height, fovy, stretch, dx, dy), width, height), wanted, 24)


@pytest.mark.parametrize("fovy", [20.0, FOVY])
@pytest.mark.parametrize(("dx", "dy"), [(40, 0), (-40, 0), (0, 70), (0, -300)])
def test_a_window_beside_the_image_is_empty(fovy: float, dx: float, dy: float) -> None:
    """TrainingViews that were cut out of larger ones may have their principal point outside."""
    found = seen(camera(32, 32, 60.0, 1.0, dx, dy), 32, 32).framed(fovy, 16)
    assert found.alphas.shape == (1, 16, 16, 1)
    assert not found.alphas.any()


def test_colours_at_the_edge_of_an_object_are_not_darkened() -> None:
    """Empty pixels have no colour that could mix in."""
    images = torch.zeros(1, 40, 40, 3)
    alphas = torch.zeros(1, 40, 40, 1)
    images[:, 11:29, 9:31] = torch.tensor([0.9, 0.5, 0.2])
    alphas[:, 11:29, 9:31] = 1
    cameras = Cameras(torch.eye(4)[None], camera(40, 40, 40.0).float(), 40, 40)
    found = Views(images, alphas, cameras, torch.zeros(1)).framed(60.0, 21)
    shown = found.images[found.alphas[..., 0] > 0.01]
    assert len(shown) > 20
    torch.testing.assert_close(shown, torch.tensor([0.9, 0.5, 0.2]).expand_as(shown), atol=1e-4, rtol=0)
    area = float(found.alphas.sum()) * (math.tan(math.radians(30)) / 21) ** 2
    assert area == pytest.approx(18 * 22 * (math.tan(math.radians(20)) / 40) ** 2, rel=0.02)
