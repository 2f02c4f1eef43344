"""A video in which nothing moves is a static scene; noise is not motion, and a small motion is."""

from __future__ import annotations

import pytest
import torch

from chronosplat.captures import Views
from chronosplat.events import Events, Notice
from chronosplat.refine.solid.config import SolidConfig
from chronosplat.refine.solid.frames import read_frames
from chronosplat.refine.solid.solid import solid_body
from chronosplat.refine.solid.still import is_still
from tests.refine.solid.kit import bar, sliding_bar, video

SHORT = SolidConfig(rounds=2, steps=2, joint=4, residuals=4)


def still(noise: float = 0.0, count: int = 6) -> Views:
    """A bar that does not move, with noise in gray levels, the same for all channels, in and around it."""
    rng = torch.Generator().manual_seed(0)
    alpha, colors = bar(24, 24, 0.5, 26, 11)
    frames = [(alpha, (colors + noise / 255 * torch.randn(48, 48, 1, generator=rng)).clamp(0, 1)) for _ in range(count)]
    return video(frames)


def with_blocks(views: Views, levels: float, size: int = 8) -> Views:
    """The video's colours with errors per block, as coarse compression leaves them."""
    rng = torch.Generator().manual_seed(1)
    errors = levels / 255 * (2 * torch.rand(len(views), 48 // size, 48 // size, 3, generator=rng) - 1)
    blocks = errors.repeat_interleave(size, 1).repeat_interleave(size, 2)
    return video(
        [(alpha[..., 0], (image + block).clamp(0, 1)) for alpha, image, block in zip(views.alphas, views.images, blocks, strict=True)]
    )


@pytest.mark.parametrize("views", [still(), still(5.0), with_blocks(still(2.0), 5.0)], ids=["equal", "camera noise", "compression"])
def test_noise_is_not_motion(views: Views) -> None:
    assert is_still(read_frames(views))


@pytest.mark.parametrize(("pixels", "radians"), [(0.5, 0.0), (0.0, 0.06), (3.0, 0.0)])
def test_a_small_motion_is_one(pixels: float, radians: float) -> None:
    moved = video([bar(24 + pixels * (i % 2), 24, 0.5 + radians * (i % 2), 26, 11) for i in range(6)])
    assert not is_still(read_frames(moved))


def test_a_change_in_one_frame_is_seen() -> None:
    """As a blink."""
    views = still(1.0, 12)
    images = views.images.clone()
    images[7, 22:26, 22:26] = 0.9
    assert not is_still(read_frames(video([(a[..., 0], x) for a, x in zip(views.alphas, images, strict=True)])))


def test_a_still_video_becomes_a_static_scene_and_it_is_said() -> None:
    notices: list[Notice] = []
    refined = solid_body(still(2.0), SHORT, Events(notice=notices.append))
    assert refined.scene.seconds is None
    assert refined.facts["frames"] == 1
    (said,) = [notice for notice in notices if notice.code == "still"]
    assert said.level == "info"
    assert str(said).startswith("all 6 frames are equal within noise: the scene is static, and fitted to the one at ")
    assert solid_body(sliding_bar(3), SHORT).scene.seconds == (0.0, 2.0)
