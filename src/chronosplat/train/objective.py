"""One training step's loss: predict Gaussians from the inputs, render the targets, compare."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from chronosplat.data.sampling import TrainingBatch
from chronosplat.losses import gradient_difference, mse
from chronosplat.models.heads import PredictedGaussians
from chronosplat.models.lrm4d import LRM4D, Frames
from chronosplat.render import RasterInputs, RasterOutputs, rasterize


@dataclass(frozen=True)
class LossTerms:
    """The total, its parts, and the pictures behind it."""

    total: Tensor
    rgb: Tensor
    alpha: Tensor
    structure: Tensor
    rendered: Tensor
    wanted: Tensor


def input_frames(batch: TrainingBatch) -> Frames:
    """The network's input: the first pictures of a batch, on white."""
    n = batch.inputs
    rgb, alpha = batch.rgba[:, :n, ..., :3], batch.rgba[:, :n, ..., 3:]
    return Frames(rgb * alpha + 1 - alpha, alpha, batch.times[:, :n], batch.viewmats[:, :n], batch.Ks[:, :n])


def render_targets(gaussians: PredictedGaussians, batch: TrainingBatch, backend: str) -> RasterOutputs:
    """Render the predicted clouds at the cameras and times that were asked for."""
    n = batch.inputs
    height, width = batch.rgba.shape[2:4]
    return rasterize(
        RasterInputs(
            **gaussians.fields(),
            viewmats=batch.viewmats[:, n:],
            Ks=batch.Ks[:, n:],
            times=batch.times[:, n:],
            width=width,
            height=height,
        ),
        backend,
    )


def compute_loss(model: LRM4D, batch: TrainingBatch, alpha_weight: float, structure_weight: float, backend: str = "auto") -> LossTerms:
    """MSE on rgb (on white) and alpha, plus the structural term."""
    out = render_targets(model(input_frames(batch)), batch, backend)
    wanted_alpha = batch.rgba[:, batch.inputs :, ..., 3:]
    wanted = batch.rgba[:, batch.inputs :, ..., :3] * wanted_alpha + 1 - wanted_alpha
    rendered = out.rgb + 1 - out.alpha
    rgb, alpha = mse(rendered, wanted), mse(out.alpha, wanted_alpha)
    structure = gradient_difference(rendered.flatten(0, 1), wanted.flatten(0, 1))
    return LossTerms(rgb + alpha_weight * alpha + structure_weight * structure, rgb, alpha, structure, rendered, wanted)
