"""4D Gaussians: the moving form against conditioning on time, precision matrices and the joint density."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from chronosplat.scenes import Gaussians4D, covariance_4d, moving_form, moving_shape, rotation_4d, temporal_weight
from tests.scene_kit import condition, covariances, law, quaternions, vectors

IDENTITY = torch.tensor([1.0, 0, 0, 0], dtype=torch.float64)


class Blob(NamedTuple):
    """One space-time Gaussian: mean [4] and covariance [4, 4]."""

    mean: Tensor
    covariance: Tensor


def blobs() -> st.SearchStrategy[Blob]:
    """Gaussians of any rotation in space-time."""
    made = st.builds(covariance_4d, quaternions(), quaternions(), vectors(3, 0.2, 2.0), vectors(1, 0.2, 2.0))
    return st.builds(Blob, vectors(4), made)


def timestamps() -> st.SearchStrategy[Tensor]:
    """A time."""
    return st.floats(-4, 4).map(lambda t: torch.tensor(t, dtype=torch.float64))


@law
@given(quaternions(), quaternions(), vectors(3, 0.2, 2.0), vectors(1, 0.2, 2.0))
def test_covariance_4d_has_the_scales_along_the_rotated_axes(left: Tensor, right: Tensor, scales: Tensor, scale_t: Tensor) -> None:
    covariance = covariance_4d(left, right, scales, scale_t)
    axes = rotation_4d(left, right)
    expected = torch.diag(torch.cat([scales, scale_t]).square())
    torch.testing.assert_close(axes.T @ covariance @ axes, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(covariance, covariance.T, rtol=0, atol=1e-14)


@law
@given(blobs(), timestamps())
def test_conditioning_equals_the_moving_form_at_any_time(blob: Blob, t: Tensor) -> None:
    velocity, sigma, spatial = moving_form(blob.covariance)
    mean, covariance, weight = condition(blob.mean, blob.covariance, t)
    torch.testing.assert_close(mean, blob.mean[:3] + velocity * (t - blob.mean[3]), rtol=0, atol=1e-10)
    torch.testing.assert_close(covariance, spatial, rtol=0, atol=1e-12)
    torch.testing.assert_close(weight, temporal_weight(t, blob.mean[3], sigma), rtol=1e-10, atol=1e-12)


@law
@given(blobs(), timestamps())
def test_conditioning_equals_slicing_the_precision_matrix(blob: Blob, t: Tensor) -> None:
    precision = torch.linalg.inv(blob.covariance)
    mean, covariance, _ = condition(blob.mean, blob.covariance, t)
    torch.testing.assert_close(covariance, torch.linalg.inv(precision[:3, :3]), rtol=0, atol=1e-10)
    expected = blob.mean[:3] - covariance @ precision[:3, 3] * (t - blob.mean[3])
    torch.testing.assert_close(mean, expected, rtol=0, atol=1e-10)


@law
@given(blobs(), timestamps(), vectors(3))
def test_the_joint_density_is_the_slice_times_its_weight(blob: Blob, t: Tensor, x: Tensor) -> None:
    mean, covariance, weight = condition(blob.mean, blob.covariance, t)
    offset, joint = x - mean, torch.cat([x, t[None]]) - blob.mean
    inside = offset @ torch.linalg.solve(covariance, offset) - 2 * weight.log()
    torch.testing.assert_close(inside, joint @ torch.linalg.solve(blob.covariance, joint), rtol=1e-9, atol=1e-9)


@law
@given(blobs(), timestamps())
def test_gaussians_4d_evaluate_to_the_textbook_gaussian(blob: Blob, t: Tensor) -> None:
    velocities, sigmas, quats, scales = moving_shape(blob.covariance[None])
    scene = Gaussians4D(
        means=blob.mean[None, :3],
        velocities=velocities,
        time_centers=blob.mean[3:],
        time_sigmas=sigmas,
        quats=quats,
        scales=scales,
        opacities=torch.tensor([0.7], dtype=torch.float64),
        colors=torch.zeros(1, 3, dtype=torch.float64),
    )
    found = scene.at(float(t))
    mean, covariance, weight = condition(blob.mean, blob.covariance, t)
    torch.testing.assert_close(found.means[0], mean, rtol=0, atol=1e-10)
    torch.testing.assert_close(covariances(found)[0], covariance, rtol=0, atol=1e-10)
    torch.testing.assert_close(found.opacities[0], 0.7 * weight, rtol=1e-10, atol=1e-12)


@law
@given(vectors(4), vectors(3, 0.2, 2.0), timestamps(), st.floats(10, 1e6))
def test_a_large_time_sigma_gives_a_static_gaussian(mean: Tensor, scales: Tensor, t: Tensor, sigma: float) -> None:
    covariance = covariance_4d(IDENTITY, IDENTITY, scales, torch.tensor([sigma], dtype=torch.float64))
    at_t, spatial, weight = condition(mean, covariance, t)
    assert torch.equal(at_t, mean[:3])
    torch.testing.assert_close(spatial, torch.diag(scales.square()), rtol=0, atol=1e-13)
    faded = float((t - mean[3]).square()) / (2 * sigma**2)
    assert 1 - faded - 1e-15 <= float(weight) <= 1


@law
@given(blobs(), timestamps(), st.floats(1, 3))
def test_stretching_time_slows_the_motion_down(blob: Blob, t: Tensor, stretch: float) -> None:
    factors = torch.tensor([1, 1, 1, stretch], dtype=torch.float64)
    slow = Blob(blob.mean * factors, blob.covariance * factors[:, None] * factors)
    velocity, sigma, spatial = moving_form(blob.covariance)
    slow_velocity, slow_sigma, slow_spatial = moving_form(slow.covariance)
    torch.testing.assert_close(slow_velocity, velocity / stretch, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(slow_sigma, sigma * stretch, rtol=1e-12, atol=0)
    torch.testing.assert_close(slow_spatial, spatial, rtol=0, atol=1e-11)
    for found, expected in zip(condition(*slow, t * stretch), condition(*blob, t), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


@law
@given(st.floats(-3, 3), st.floats(0.1, 5), st.floats(-5, 5))
def test_weight_is_one_at_the_centre_even_and_at_most_one(center: float, sigma: float, dt: float) -> None:
    c, s = torch.tensor(center, dtype=torch.float64), torch.tensor(sigma, dtype=torch.float64)
    assert temporal_weight(c, c, s) == 1
    weight = temporal_weight(c + dt, c, s)
    assert 0 <= float(weight) <= 1
    torch.testing.assert_close(weight, temporal_weight(c - dt, c, s), rtol=1e-10, atol=1e-300)
    one_sigma = torch.tensor(-0.5, dtype=torch.float64).exp()
    torch.testing.assert_close(temporal_weight(c + s, c, s), one_sigma, rtol=1e-12, atol=0)


def test_batches_are_conditioned_one_by_one() -> None:
    random = torch.Generator().manual_seed(0)
    left, right = torch.randn(2, 3, 5, 4, generator=random, dtype=torch.float64)
    means = torch.randn(3, 5, 4, generator=random, dtype=torch.float64)
    scales = torch.rand(3, 5, 4, generator=random, dtype=torch.float64) + 0.1
    made = covariance_4d(left, right, scales[..., :3], scales[..., 3:])
    t = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)[:, None]
    together = condition(means, made, t)
    alone = condition(means[1, 4], made[1, 4], t[1, 0])
    for all_of_them, one in zip(together, alone, strict=True):
        torch.testing.assert_close(all_of_them[1, 4], one, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("output", [0, 1, 2])
def test_moving_form_is_differentiable(output: int) -> None:
    half = torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)

    def form(h: Tensor) -> Tensor:
        return moving_form(h @ h.T + torch.eye(4, dtype=torch.float64))[output]

    assert torch.autograd.gradcheck(form, (half,))
