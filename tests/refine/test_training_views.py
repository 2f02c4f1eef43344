"""Training images at smaller sizes: the same cameras, areas and colours."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from chronosplat.refine import training_views as module
from chronosplat.refine.parameters import fields_of
from chronosplat.refine.training_views import render_views, training_views
from tests.refine.kit import blobs, views


@pytest.mark.parametrize("factor", [2, 4])
def test_smaller_images_have_the_same_colours_and_coverage(factor: int) -> None:
    whole = training_views(blobs(), views())
    small = whole.reduced(factor)
    assert small.size == (32 // factor, 32 // factor)
    mean = whole.on_white(range(24)).unflatten(2, (-1, factor)).unflatten(1, (-1, factor)).mean((2, 4))
    torch.testing.assert_close(small.on_white(range(24)), mean, rtol=0, atol=0.006)
    covered = whole.pixels[..., 3].float().mean((1, 2))
    torch.testing.assert_close(small.pixels[..., 3].float().mean((1, 2)), covered, rtol=0, atol=0.6)
    assert whole.size == (32, 32)


def test_smaller_images_are_seen_by_the_same_cameras() -> None:
    small = training_views(blobs(), views()).reduced(2)

    def error(*change: float) -> float:
        """With the focal length and the principal point multiplied."""
        seen = replace(small, Ks=small.Ks * torch.tensor([[change[0], 1, change[1]], [1, change[0], change[2]], [1, 1, 1]]))
        with torch.no_grad():
            rgb = render_views(fields_of(blobs()), seen, range(24), "cpu", cull=False)[0]
        return float((rgb - small.on_white(range(24))).square().mean())

    assert all(error(*change) > 1.15 * error(1, 1, 1) for change in ((1.1, 1, 1), (0.8, 1, 1), (1, 1.05, 1), (1, 1, 1.05), (1, 1, 0.95)))


def test_transparent_pixels_lend_no_colour() -> None:
    whole = training_views(blobs(), views())
    pixels = torch.zeros_like(whole.pixels)
    pixels[..., :3] = 77
    pixels[:, ::2, ::2] = torch.tensor([200, 10, 30, 255], dtype=torch.uint8)
    small = replace(whole, pixels=pixels).reduced(2)
    assert torch.equal(small.pixels[0, 5, 5], torch.tensor([200, 10, 30, 64], dtype=torch.uint8))


@pytest.mark.parametrize(("smallest", "sizes"), [(96, [32]), (33, [32]), (16, [16, 32]), (15, [16, 32]), (4, [4, 8, 16, 32])])
def test_the_pyramid_rises_to_the_views(smallest: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SMALLEST", smallest)
    whole = training_views(blobs(), views())
    levels = whole.pyramid
    assert [level.size[0] for level in levels] == sizes
    assert levels[-1] is whole
