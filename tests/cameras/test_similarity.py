"""Similarity transforms: inverse, composition and matrix agree."""

from __future__ import annotations

import torch
from hypothesis import given
from torch import Tensor

from chronosplat.cameras import Similarity
from tests.scene_kit import law, similarities, tilted_world, vectors


@law
@given(similarities(), vectors(3))
def test_inverse_undoes_on_both_sides(world: Similarity, x: Tensor) -> None:
    torch.testing.assert_close(world.inverse().points(world.points(x)), x, rtol=0, atol=1e-11)
    torch.testing.assert_close(world.points(world.inverse().points(x)), x, rtol=0, atol=1e-11)
    torch.testing.assert_close(world.inverse().matrix(), torch.linalg.inv(world.matrix()), rtol=1e-10, atol=1e-11)


@law
@given(similarities(), similarities(), vectors(3))
def test_after_applies_the_first_then_this(second: Similarity, first: Similarity, x: Tensor) -> None:
    both = second.after(first)
    torch.testing.assert_close(both.points(x), second.points(first.points(x)), rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(both.directions(x), second.directions(first.directions(x)), rtol=0, atol=1e-11)
    torch.testing.assert_close(both.matrix(), second.matrix() @ first.matrix(), rtol=1e-11, atol=1e-11)


@law
@given(similarities(), similarities())
def test_inverse_of_a_product_is_the_reversed_product_of_inverses(second: Similarity, first: Similarity) -> None:
    at_once = second.after(first).inverse().matrix()
    torch.testing.assert_close(at_once, first.inverse().after(second.inverse()).matrix(), rtol=1e-10, atol=1e-10)


@law
@given(similarities(), vectors(3))
def test_matrix_maps_points(world: Similarity, x: Tensor) -> None:
    matrix = world.matrix()
    torch.testing.assert_close(matrix[:3, :3] @ x + matrix[:3, 3], world.points(x), rtol=0, atol=1e-12)
    assert matrix[3].tolist() == [0, 0, 0, 1]


@law
@given(similarities(), vectors(3), vectors(3))
def test_distances_scale_and_directions_keep_their_length(world: Similarity, a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close((world.points(a) - world.points(b)).norm(), world.scale * (a - b).norm(), rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(world.directions(a).norm(), a.norm(), rtol=1e-11, atol=0)


def test_is_identity() -> None:
    assert Similarity().is_identity()
    assert Similarity().inverse().is_identity()
    assert not tilted_world().is_identity()
    assert not Similarity(scale=2.0).is_identity()
    assert not Similarity(translation=torch.tensor([0, 0, 1e-9], dtype=torch.float64)).is_identity()
    assert not Similarity(rotation=torch.diag(torch.tensor([1.0, -1, -1], dtype=torch.float64))).is_identity()


def test_points_keep_their_batch_axes_and_precision() -> None:
    x = torch.randn(2, 5, 3)
    moved = tilted_world().points(x)
    assert (moved.shape, moved.dtype) == (x.shape, torch.float32)
    torch.testing.assert_close(moved[1, 3], tilted_world().points(x[1, 3]))
