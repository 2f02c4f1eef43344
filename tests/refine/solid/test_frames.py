"""Reading frames: the body's units agree with the camera, mattes are cleaned, and bad input is named."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from chronosplat.cameras import orbit
from chronosplat.captures import Views
from chronosplat.refine.solid.frames import decontaminate, read_frames, without_holes
from chronosplat.shapes import InputError
from tests.refine.solid.kit import bar, disc, sliding_bar, video


def test_a_pixel_is_placed_where_the_camera_sees_it() -> None:
    views = sliding_bar(1)
    frames = read_frames(views)
    uvz = torch.tensor([[10.5, 20.5, 0.0], [30.0, 12.0, -6.0], [24.0, 24.0, 9.0]])
    world = frames.world.points(frames.place(uvz).double())
    camera = (views.cameras.viewmats[0, :3, :3].double() @ world.T).T + views.cameras.viewmats[0, :3, 3].double()
    pixel = (views.cameras.Ks[0].double() @ camera.T).T
    torch.testing.assert_close(pixel[:, :2] / pixel[:, 2:], uvz[:, :2].double(), atol=1e-4, rtol=0)
    assert abs(float(camera[0, 2]) - 1.5) < 1e-6  # the object's distance in L4GM's frame


def test_a_small_splat_is_rendered_in_its_pixel() -> None:
    frames = read_frames(sliding_bar(1))
    means = frames.place(torch.tensor([[10.5, 20.5, 0.0]]))[None]
    rgb, alpha = frames.render(means, torch.tensor([0.5]), torch.tensor([0.9]), torch.tensor([[1.0, 0, 0]]))
    assert divmod(int(alpha[0].argmax()), alpha.shape[-1]) == (20, 10)
    torch.testing.assert_close(rgb[0, 20, 10, 1], 1 - alpha[0, 20, 10])


def test_frames_are_sorted_and_empty_ones_left_out() -> None:
    views = sliding_bar(4)
    alphas = views.alphas.clone()
    alphas[1] = 0
    shuffled = replace(views, alphas=alphas)[[3, 1, 0, 2]]
    frames = read_frames(shuffled)
    assert frames.seconds.tolist() == [0, 2, 3]
    assert frames.empty == 1
    torch.testing.assert_close(frames.masks[2], views.alphas[3, ..., 0] > 0.5)


def test_enclosed_white_is_background() -> None:
    ring = disc(24, 24, 16)
    alpha, image = ring.float()[None], torch.full((1, 48, 48, 3), 0.3)
    image[0][disc(24, 24, 4)] = 1.0
    assert not without_holes(image, alpha)[0][disc(24, 24, 2)].any()
    mostly_white = torch.ones(1, 48, 48, 3)  # a white object stays
    torch.testing.assert_close(without_holes(mostly_white, alpha), alpha)


def test_outline_pixels_are_separated_from_white() -> None:
    inside = disc(24, 24, 12)
    rim = disc(24, 24, 13) & ~inside
    color = torch.tensor([0.6, 0.2, 0.1])
    image = torch.ones(48, 48, 3)
    image[inside] = color
    image[rim] = 0.5 + 0.5 * color  # half background, that the matte calls object
    alpha = (inside | rim).float()
    colors, found = decontaminate(image, alpha)
    torch.testing.assert_close(colors[rim], color.expand(int(rim.sum()), 3), atol=0.02, rtol=0)
    torch.testing.assert_close(found[rim], torch.full((int(rim.sum()),), 0.5), atol=0.03, rtol=0)
    on_white = colors * found[..., None] + 1 - found[..., None]
    torch.testing.assert_close(on_white[inside | rim], image[inside | rim], atol=0.03, rtol=0)


def test_resized_frames_are_in_the_same_world() -> None:
    frames = read_frames(sliding_bar(2))
    half = frames.resized(24, 24)
    uvz = torch.tensor([[10.0, 20.0, 0.0], [30.0, 12.0, -6.0]])
    torch.testing.assert_close(half.world.points(half.place(uvz / 2)), frames.world.points(frames.place(uvz)), atol=1e-5, rtol=0)
    torch.testing.assert_close(half.alphas.mean(), frames.alphas.mean(), atol=2e-3, rtol=0)
    torch.testing.assert_close(half.given.mean(), frames.given.mean(), atol=2e-3, rtol=0)
    assert half.masks.shape == (2, 24, 24)


def opaque(views: Views) -> Views:
    return replace(views, alphas=torch.ones_like(views.alphas))


BAD = {
    "views: no frame shows an object; check the alphas": lambda v: replace(v, alphas=torch.zeros_like(v.alphas)),
    "views: the object has no outline": opaque,
    "views: the cameras differ": lambda v: replace(v, cameras=orbit([0.0, 5.0], 0.0, 48)),
    "views: two frames have the same time": lambda v: replace(v, times=torch.zeros(2, dtype=torch.float64)),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_named(message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_frames(BAD[message](sliding_bar(2)))


def test_the_units_follow_a_camera_elsewhere() -> None:
    views = video([bar(24, 24, 0.3, 20, 8)])
    turned = replace(views, cameras=orbit([70.0], 20.0, 48))
    frames = read_frames(turned)
    center = frames.world.points(torch.zeros(3, dtype=torch.float64))
    assert float(center.norm()) < 1e-6  # the orbit's center
