"""Laws of inflation: discs become spheres, strips cylinders, and mirrored silhouettes mirrored solids."""

from __future__ import annotations

import pytest
import torch

from chronosplat.refine.solid.grids import dilate, distance_inside, erode
from chronosplat.refine.solid.inflate import INSET, inflate
from tests.refine.solid.kit import disc, grid


@pytest.mark.parametrize("radius", [6.0, 12.0, 20.0])
def test_a_disc_becomes_a_dome_of_its_radius(radius: float) -> None:
    height = inflate(disc(32, 32, radius, 64))
    x, y = grid(64)
    expected = (radius**2 - (x - 32) ** 2 - (y - 32) ** 2).clamp_min(0).sqrt() - INSET
    inner = disc(32, 32, 0.8 * radius, 64)
    assert float((height - expected)[inner].abs().max()) < 0.08 * radius + 0.3


def test_a_strip_becomes_a_cylinder() -> None:
    x, _ = grid(64)
    height = inflate((x - 32).abs() < 8)
    expected = (64 - (x[32] - 32) ** 2).clamp_min(0).sqrt() - INSET
    assert float((height[32] - expected)[26:38].abs().max()) < 0.8


def test_nothing_stands_outside_and_all_stands_inside() -> None:
    mask = disc(20, 24, 9) | disc(33, 20, 5)
    height = inflate(mask)
    assert not height[~mask].any()
    assert bool((height[erode(mask) > 0.5] > 0).all())


def test_a_mirrored_silhouette_becomes_a_mirrored_solid() -> None:
    mask = disc(18, 20, 9) | disc(30, 28, 6)
    torch.testing.assert_close(inflate(mask.flip(1)), inflate(mask).flip(1), atol=2e-2, rtol=2e-2)


def test_distances_are_exact() -> None:
    mask = disc(10, 12, 7, 24)
    inside, outside = mask.nonzero().float(), (~mask).nonzero().float()
    torch.testing.assert_close(distance_inside(mask)[mask], torch.cdist(inside, outside).amin(1))
    assert float(distance_inside(torch.ones(3, 9, dtype=torch.bool)).max()) == 2  # the image's border is an outline


def test_growing_and_shrinking() -> None:
    mask = disc(10, 12, 5, 24)
    assert bool((dilate(mask).bool() | ~mask).all())
    torch.testing.assert_close(1 - dilate(~mask), erode(mask))
