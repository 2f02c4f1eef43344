"""Quaternions and rotations: groups, inverses, and the places where formulas divide by nothing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from chronosplat.scenes import covariances_to_shapes, matrices_to_quats, multiply, normalize, quats_to_matrices, rotation_4d
from tests.scene_kit import law, quaternions, turn_about, vectors

AXES = [[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, -1], [1, 1, 1], [-1, 1, 1], [1, 1e-9, 0], [1e-9, 1e-7, 1], [0.5, -0.3, 0.8]]
AWAY_FROM_HALF_TURN = [0.0, 1e-12, -1e-12, 1e-7, -1e-7, 1e-3, -1e-3]


def assert_same_rotation(found: Tensor, expected: Tensor, atol: float = 1e-12) -> None:
    """Unit quaternions that are equal up to sign."""
    sign = torch.where((found * expected).sum(-1, keepdim=True) < 0, -1.0, 1.0)
    torch.testing.assert_close(found, sign * expected, rtol=0, atol=atol)


def assert_proper(matrix: Tensor) -> None:
    """A rotation matrix [n, n]: orthogonal, and not mirrored."""
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(len(matrix), dtype=torch.float64), rtol=0, atol=1e-13)
    torch.testing.assert_close(torch.linalg.det(matrix).item(), 1.0, rtol=0, atol=1e-13)


@law
@given(quaternions(), st.floats(0.01, 100))
def test_quaternions_of_any_length_give_proper_rotations(quat: Tensor, length: float) -> None:
    matrix = quats_to_matrices(quat)
    assert_proper(matrix)
    torch.testing.assert_close(quats_to_matrices(-length * quat), matrix, rtol=0, atol=1e-13)


@law
@given(quaternions(), vectors(3))
def test_matrix_turns_as_the_quaternion_does(quat: Tensor, x: Tensor) -> None:
    unit = normalize(quat)
    conjugate = unit * torch.tensor([1.0, -1, -1, -1], dtype=torch.float64)
    turned = multiply(multiply(unit, torch.cat([torch.zeros(1, dtype=torch.float64), x])), conjugate)
    torch.testing.assert_close(turned[1:], quats_to_matrices(quat) @ x, rtol=0, atol=1e-12)


def test_a_quarter_turn_about_z_takes_x_to_y() -> None:
    matrix = quats_to_matrices(torch.tensor([1.0, 0, 0, 1.0], dtype=torch.float64))
    torch.testing.assert_close(matrix @ torch.tensor([1.0, 0, 0]).double(), torch.tensor([0, 1.0, 0]).double(), rtol=0, atol=1e-15)


@law
@given(quaternions(), quaternions(), quaternions())
def test_product_is_first_b_then_a_and_associates(a: Tensor, b: Tensor, c: Tensor) -> None:
    torch.testing.assert_close(quats_to_matrices(multiply(a, b)), quats_to_matrices(a) @ quats_to_matrices(b), rtol=0, atol=1e-11)
    torch.testing.assert_close(multiply(multiply(a, b), c), multiply(a, multiply(b, c)), rtol=0, atol=1e-11)
    torch.testing.assert_close(multiply(a, b).norm(), a.norm() * b.norm(), rtol=1e-12, atol=0)


@law
@given(quaternions())
def test_matrix_to_quaternion_is_the_inverse(quat: Tensor) -> None:
    found = matrices_to_quats(quats_to_matrices(quat))
    assert float(found[0]) >= 0
    torch.testing.assert_close(found.norm().item(), 1.0, rtol=0, atol=1e-14)
    assert_same_rotation(found, normalize(quat))


@pytest.mark.parametrize("axis", AXES)
def test_inverse_holds_near_half_turns_about_any_axis(axis: list[float]) -> None:
    for degrees in [180 + 114.6 * away for away in AWAY_FROM_HALF_TURN] + [-180.0]:
        quat = turn_about(torch.tensor(axis, dtype=torch.float64), degrees)
        matrix = quats_to_matrices(quat)
        assert_same_rotation(matrices_to_quats(matrix), quat)
        torch.testing.assert_close(quats_to_matrices(matrices_to_quats(matrix)), matrix, rtol=0, atol=1e-14)


@pytest.mark.parametrize("axis", AXES)
def test_inverse_holds_near_no_turn(axis: list[float]) -> None:
    for degrees in (0.0, 1e-10, -1e-6, 1e-3):
        quat = turn_about(torch.tensor(axis, dtype=torch.float64), degrees)
        assert_same_rotation(matrices_to_quats(quats_to_matrices(quat)), quat, atol=1e-15)


@law
@given(vectors(3).filter(lambda v: float(v.norm()) > 0.1), st.floats(-1e-6, 1e-6))
def test_inverse_has_finite_gradients_near_half_turns(axis: Tensor, w: float) -> None:
    matrix = quats_to_matrices(torch.cat([torch.tensor([w], dtype=torch.float64), axis])).requires_grad_()
    matrices_to_quats(matrix).square()[1].backward()
    assert matrix.grad is not None
    assert bool(torch.isfinite(matrix.grad).all())


def test_batches_mix_singular_points() -> None:
    quats = torch.stack([turn_about(torch.tensor(a, dtype=torch.float64), d) for a in AXES for d in (0.0, 90.0, 180.0)]).view(5, 6, 4)
    assert_same_rotation(matrices_to_quats(quats_to_matrices(quats)), quats)


def test_a_zero_quaternion_gives_no_nan() -> None:
    zero = torch.zeros(2, 4)
    assert torch.equal(quats_to_matrices(zero), torch.eye(3).expand(2, 3, 3))
    assert bool(torch.isfinite(normalize(zero)).all())


@law
@given(quaternions(), vectors(3, 0.01, 3.0))
def test_covariances_are_rebuilt_from_their_shapes(quat: Tensor, scales: Tensor) -> None:
    half = quats_to_matrices(quat) * scales
    covariance = half @ half.T
    quats, found = covariances_to_shapes(covariance)
    rebuilt = quats_to_matrices(quats) * found
    torch.testing.assert_close(rebuilt @ rebuilt.T, covariance, rtol=0, atol=1e-12)
    torch.testing.assert_close(found, scales.sort().values, rtol=1e-8, atol=0)


@pytest.mark.parametrize("scales", [[1.0, 1, 1], [2, 2, 1], [1, 1, 3], [0, 1, 2], [0, 0, 1], [0, 0, 0], [1e-6, 1, 1]])
def test_covariances_with_equal_or_vanishing_axes_are_rebuilt_too(scales: list[float]) -> None:
    for turn in ([1.0, 0, 0, 0], [0, 1, 0, 0], [0.3, -0.5, 0.7, 0.2]):
        half = quats_to_matrices(torch.tensor(turn, dtype=torch.float64)) * torch.tensor(scales, dtype=torch.float64)
        quats, found = covariances_to_shapes(half @ half.T)
        rebuilt = quats_to_matrices(quats) * found
        torch.testing.assert_close(rebuilt @ rebuilt.T, half @ half.T, rtol=0, atol=1e-13)
        torch.testing.assert_close(quats.norm().item(), 1.0, rtol=0, atol=1e-13)


@law
@given(quaternions(), quaternions())
def test_rotation_4d_is_a_proper_rotation(left: Tensor, right: Tensor) -> None:
    rotation = rotation_4d(left, right)
    assert_proper(rotation)
    torch.testing.assert_close(rotation_4d(-3 * left, -right), rotation, rtol=0, atol=1e-13)


@law
@given(quaternions(), quaternions(), vectors(4))
def test_rotation_4d_multiplies_from_the_left_and_the_right(left: Tensor, right: Tensor, x: Tensor) -> None:
    expected = multiply(multiply(normalize(left), x), normalize(right))
    torch.testing.assert_close(rotation_4d(left, right) @ x, expected, rtol=0, atol=1e-12)


@law
@given(quaternions())
def test_rotation_4d_with_its_conjugate_turns_space_alone(quat: Tensor) -> None:
    conjugate = quat * torch.tensor([1.0, -1, -1, -1], dtype=torch.float64)
    expected = torch.eye(4, dtype=torch.float64)
    expected[1:, 1:] = quats_to_matrices(quat)
    torch.testing.assert_close(rotation_4d(quat, conjugate), expected, rtol=0, atol=1e-13)
