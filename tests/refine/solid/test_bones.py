"""Nodes spread over a silhouette; distances go around gaps."""

from __future__ import annotations

import math

import torch

from chronosplat.refine.solid.bones import build_bones, farthest, geodesic
from tests.refine.solid.kit import disc, grid


def pixels_of(mask: torch.Tensor) -> torch.Tensor:
    return mask.nonzero().flip(1)


def number(pixels: torch.Tensor, x: int, y: int) -> int:
    return int(((pixels[:, 0] == x) & (pixels[:, 1] == y)).nonzero()[0, 0])


def u_shape() -> torch.Tensor:
    """Two legs, four pixels apart, that meet at the top."""
    x, y = grid(40)
    legs = (((x - 14).abs() < 4) | ((x - 26).abs() < 4)) & (y > 6) & (y < 34)
    return legs | ((y > 6) & (y < 12) & (x > 10) & (x < 30))


def test_distance_goes_around_a_gap() -> None:
    pixels = pixels_of(u_shape())
    left, right = number(pixels, 17, 32), number(pixels, 22, 32)
    gaps = geodesic(pixels, torch.tensor([left]), 200.0)[:, 0]
    assert float(gaps[right]) > 40
    assert abs(float(gaps[number(pixels, 17, 20)]) - 12) < 1e-4


def test_distance_is_straight_where_nothing_is_between() -> None:
    pixels = pixels_of(disc(20, 20, 12, 40))
    center = number(pixels, 20, 20)
    gaps = geodesic(pixels, torch.tensor([center]), 100.0)[:, 0]
    straight = (pixels - pixels[center]).float().norm(dim=-1)
    assert bool((gaps >= straight - 1e-4).all())
    assert float((gaps / straight.clamp_min(1)).max()) < 1 / math.cos(math.pi / 8) + 1e-3  # of ways in eight directions


def test_other_parts_are_far() -> None:
    pixels = pixels_of(disc(8, 8, 4, 40) | disc(30, 30, 4, 40))
    gaps = geodesic(pixels, torch.tensor([number(pixels, 8, 8)]), 200.0)[:, 0]
    assert float(gaps[number(pixels, 30, 30)]) > 1000


def test_a_leg_is_not_moved_by_the_other() -> None:
    mask = u_shape()
    pixels = pixels_of(mask)
    bones = build_bones(pixels, 40)
    foot = number(pixels, 17, 32)
    moved_by = pixels[bones.at[bones.skin_nodes[foot]]]
    weighty = bones.skin_weights[foot] > 1e-3
    assert bool((moved_by[weighty, 0] < 20).all())
    torch.testing.assert_close(bones.skin_weights.sum(1), torch.ones(len(pixels)))


def test_two_objects_do_not_move_each_other() -> None:
    pixels = pixels_of(disc(10, 10, 6, 40) | disc(29, 29, 7, 40))
    bones = build_bones(pixels, 30)
    side = pixels[:, 0] > 20
    crossing = side[bones.at[bones.skin_nodes]] != side[:, None]
    assert float((bones.skin_weights * crossing).sum(1).max()) < 1e-6
    assert not (bones.links.bool() & (side[bones.at[bones.others]] != side[bones.at][:, None])).any()


def test_nodes_are_spread_and_at_most_one_a_pixel() -> None:
    pixels = pixels_of(disc(20, 20, 10, 40))
    bones = build_bones(pixels, 30)
    between = torch.cdist(pixels[bones.at].float(), pixels[bones.at].float()).fill_diagonal_(torch.inf)
    assert float(between.min()) > 0.5 * bones.spacing
    few = build_bones(pixels[:3], 30)
    assert len(few.at) == 3
    alone = build_bones(pixels[:1], 30)
    torch.testing.assert_close(alone.skin_weights, torch.ones(1, 1))
    assert len(set(farthest(pixels.float(), 20).tolist())) == 20
