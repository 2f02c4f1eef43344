"""The training loss: predict Gaussians from the inputs, render the targets, compare."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from chronosplat.cameras import pixel_rays
from chronosplat.data.sampling import TrainingBatch
from chronosplat.losses import gradient_difference, mse
from chronosplat.models.lrm4d import LRM4D, Frames, PredictedGaussians
from chronosplat.render import RasterInputs, RasterOutputs, rasterize


@dataclass(frozen=True)
class LossWeights:
    """Weights of the loss terms; the mean squared error on rgb has weight one."""

    alpha: float = 0.5
    structure: float = 0.05
    surface: float = 0.15
    motion: float = 0.03


@dataclass(frozen=True)
class LossTerms:
    """The total loss, its terms, and the rendered and ground-truth targets [B, F, H, W, 3]."""

    total: Tensor
    rgb: Tensor
    alpha: Tensor
    structure: Tensor
    surface: Tensor
    motion: Tensor
    rendered: Tensor
    target: Tensor


def input_frames(batch: TrainingBatch) -> Frames:
    """Return the network's input: a batch's input images on white."""
    n = batch.inputs
    rgb, alpha = batch.rgba[:, :n, ..., :3], batch.rgba[:, :n, ..., 3:]
    return Frames(rgb * alpha + 1 - alpha, alpha, batch.times[:, :n], batch.viewmats[:, :n], batch.Ks[:, :n])


def render_targets(gaussians: PredictedGaussians, batch: TrainingBatch, backend: str) -> RasterOutputs:
    """Render the predictions at the targets' cameras and times."""
    n = batch.inputs
    height, width = batch.rgba.shape[2:4]
    cameras = {"viewmats": batch.viewmats[:, n:], "Ks": batch.Ks[:, n:], "width": width, "height": height}
    return rasterize(RasterInputs(**gaussians.fields(), **cameras, times=batch.times[:, n:]), backend)


def geometry_errors(gaussians: PredictedGaussians, frames: Frames, geometry: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the mean Euclidean errors of the Gaussians' positions, at their own frame's time, and velocities over covered pixels.

    Synthetic data has ground-truth depth and motion; this supervision trains far faster than images alone.

    Args:
        geometry: [B, F, H, W, 4] depth and velocity; see TrainingBatch.
    """
    B, F, H, W, _ = geometry.shape
    origins, directions = pixel_rays(frames.viewmats, frames.Ks, W, H)
    along = (directions * frames.viewmats[:, :, None, None, 2, :3]).sum(-1, keepdim=True)  # cosine to the optical axis
    points = origins + directions * geometry[..., :1] / along
    covered = ((geometry[..., 0] > 0) & (frames.alpha[..., 0] > 0.5)).float()
    dt = frames.times[:, :, None, None] - gaussians.time_centers.view(B, F, H, W)
    velocities = gaussians.velocities.view(B, F, H, W, 3)
    means = gaussians.means.view(B, F, H, W, 3) + velocities * dt[..., None]
    count = covered.sum().clamp_min(1)
    surface = (((means - points) ** 2).sum(-1) + 1e-8).sqrt()
    motion = (((velocities - geometry[..., 1:]) ** 2).sum(-1) + 1e-8).sqrt()
    return (surface * covered).sum() / count, (motion * covered).sum() / count


def compute_loss(
    model: LRM4D, batch: TrainingBatch, weights: LossWeights, backend: str = "auto", precision: torch.dtype | None = None
) -> LossTerms:
    """Compute the loss: MSE on rgb (on white) and alpha, image gradients, and geometry, in float32.

    Args:
        precision: the transformer's dtype.
    """
    frames = input_frames(batch)
    gaussians = model(frames, precision)
    out = render_targets(gaussians, batch, backend)
    target_alpha = batch.rgba[:, batch.inputs :, ..., 3:]
    target = batch.rgba[:, batch.inputs :, ..., :3] * target_alpha + 1 - target_alpha
    rendered = out.rgb + 1 - out.alpha
    rgb, alpha = mse(rendered, target), mse(out.alpha, target_alpha)
    structure = gradient_difference(rendered.flatten(0, 1), target.flatten(0, 1))
    surface, motion = geometry_errors(gaussians, frames, batch.geometry)
    total = rgb + weights.alpha * alpha + weights.structure * structure + weights.surface * surface + weights.motion * motion
    return LossTerms(total, rgb, alpha, structure, surface, motion, rendered, target)
