"""Four-dimensional Gaussians: the full covariance of space-time, and the moving form that conditioning on t gives.

For a Gaussian in (x, y, z, t) with mean mu and covariance S, the part seen at time t is again a Gaussian in space
(4D-LRM, equations 2, 10 and 11):

    mean(t)   = mu_xyz + S_xt / S_tt (t - mu_t)          a straight motion with velocity S_xt / S_tt
    cov       = S_xx - S_xt S_tx / S_tt                  the same at every t
    weight(t) = exp(-(t - mu_t)^2 / (2 S_tt))            unnormalised, at most 1

so a 4D Gaussian *is* a static shape with velocity, time centre and time sigma. That moving form is what is stored.
"""

from __future__ import annotations

import torch
from torch import Tensor

from chronosplat.scenes.rotations import covariances_to_shapes, rotation_4d


def covariance_4d(left: Tensor, right: Tensor, scales_xyz: Tensor, scales_t: Tensor) -> Tensor:
    """The space-time covariance ``R S S^T R^T`` [..., 4, 4].

    Args:
        left, right: [..., 4] quaternions of the 4D rotation, any length.
        scales_xyz: [..., 3] standard deviations along the rotated axes.
        scales_t: [..., 1] the fourth one.
    """
    half = rotation_4d(left, right) * torch.cat([scales_xyz, scales_t], dim=-1)[..., None, :]
    return half @ half.transpose(-1, -2)


def condition(mean: Tensor, covariance: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Condition a 4D Gaussian on time, by the textbook formula.

    Args:
        mean: [..., 4]. covariance: [..., 4, 4]. t: broadcastable to [...].

    Returns:
        mean [..., 3], covariance [..., 3, 3] and weight [...] at time t.
    """
    variance = covariance[..., 3, 3]
    coupling = covariance[..., :3, 3]
    dt = t - mean[..., 3]
    at_t = mean[..., :3] + coupling * (dt / variance)[..., None]
    spatial = covariance[..., :3, :3] - coupling[..., :, None] * coupling[..., None, :] / variance[..., None, None]
    return at_t, spatial, torch.exp(-0.5 * dt**2 / variance)


def moving_form(covariance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The moving form of a space-time covariance [..., 4, 4], differentiable.

    Returns:
        velocities [..., 3], time sigmas [...], and the constant spatial covariance [..., 3, 3].
    """
    variance = covariance[..., 3, 3]
    coupling = covariance[..., :3, 3]
    spatial = covariance[..., :3, :3] - coupling[..., :, None] * coupling[..., None, :] / variance[..., None, None]
    return coupling / variance[..., None], variance.sqrt(), spatial


def moving_shape(covariance: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As :func:`moving_form`, with the spatial part as quaternions [..., 4] and scales [..., 3] (for storage)."""
    velocities, sigmas, spatial = moving_form(covariance)
    quats, scales = covariances_to_shapes(spatial)
    return velocities, sigmas, quats, scales


def temporal_weight(t: Tensor, centers: Tensor, sigmas: Tensor) -> Tensor:
    """``exp(-(t - center)^2 / 2 sigma^2)``, the factor on opacity at time t."""
    return torch.exp(-0.5 * ((t - centers) / sigmas) ** 2)
