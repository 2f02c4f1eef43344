"""4D Gaussians: space-time covariances, and the moving form that results from conditioning on time.

A Gaussian in (x, y, z, t) with mean mu and covariance S, conditioned on t, is a Gaussian in space (4D-LRM, equations 2,
10 and 11):

    mean(t)   = mu_xyz + S_xt / S_tt (t - mu_t)          linear motion with velocity S_xt / S_tt
    cov       = S_xx - S_xt S_tx / S_tt                  constant
    weight(t) = exp(-(t - mu_t)^2 / (2 S_tt))            unnormalised, at most 1

Scenes store this moving form: a static shape, a velocity, a time centre and a time sigma.
"""

from __future__ import annotations

import torch
from torch import Tensor

from chronosplat.scenes.rotations import covariances_to_shapes, rotation_4d


def covariance_4d(left: Tensor, right: Tensor, scales_xyz: Tensor, scales_t: Tensor) -> Tensor:
    """Compute the space-time covariance ``R S S^T R^T`` [..., 4, 4].

    Args:
        left, right: [..., 4] quaternions of the 4D rotation, any length.
        scales_xyz, scales_t: [..., 3] and [..., 1] standard deviations along the rotated axes.
    """
    half = rotation_4d(left, right) * torch.cat([scales_xyz, scales_t], dim=-1)[..., None, :]
    return half @ half.transpose(-1, -2)


def moving_form(covariance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Convert a space-time covariance [..., 4, 4] to its moving form; differentiable.

    Returns:
        Velocities [..., 3], time sigmas [...], and the constant spatial covariance [..., 3, 3].
    """
    variance, coupling = covariance[..., 3, 3], covariance[..., :3, 3]
    spatial = covariance[..., :3, :3] - coupling[..., :, None] * coupling[..., None, :] / variance[..., None, None]
    return coupling / variance[..., None], variance.sqrt(), spatial


def moving_shape(covariance: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return :func:`moving_form` with the spatial covariance as quaternions [..., 4] and scales [..., 3]."""
    velocities, sigmas, spatial = moving_form(covariance)
    quats, scales = covariances_to_shapes(spatial)
    return velocities, sigmas, quats, scales


def temporal_weight(t: Tensor, centers: Tensor, sigmas: Tensor) -> Tensor:
    """Compute the factor on opacity at time t, ``exp(-(t - center)^2 / 2 sigma^2)``."""
    return torch.exp(-0.5 * ((t - centers) / sigmas) ** 2)
