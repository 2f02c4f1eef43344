"""Heads: input features per pixel, and the activations from raw channels to named Gaussian fields.

``PaperHead`` is 4D-LRM's own (appendix A.1, algorithm 1). ``MovingHead`` predicts linear motion directly, with priors for
a small model: opacity from the input's alpha, scale from the pixel's footprint, the frame's own time, colour as a residual
to the pixel, and depth as the expected first hit along the ray. Heads run in float32 (docs/conventions.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chronosplat.cameras import nearest_points, pixel_rays
from chronosplat.models.lrm4d.blocks import patchify
from chronosplat.models.lrm4d.config import Frames, HeadConfig, MovingHeadConfig, PaperHeadConfig
from chronosplat.models.lrm4d.sweep import Sweep, plane_sweep
from chronosplat.scenes import covariance_4d, matrices_to_quats, moving_shape, multiply
from chronosplat.shapes import InputError


@dataclass(frozen=True)
class PredictedGaussians:
    """B samples of N moving Gaussians in the normalised world and network time; fields as in ``Gaussians4D``.

    Attributes:
        means, velocities, scales, colors: [B, N, 3]. quats: [B, N, 4]. time_centers, time_sigmas, opacities: [B, N].
    """

    means: Tensor
    velocities: Tensor
    time_centers: Tensor
    time_sigmas: Tensor
    quats: Tensor
    scales: Tensor
    opacities: Tensor
    colors: Tensor

    def fields(self) -> dict[str, Any]:
        """Return the tensors by name."""
        return dict(vars(self))


@dataclass(frozen=True)
class PixelContext:
    """A head's view of each input pixel. All [B, F, H, W, ...]; viewmats [B, F, 4, 4], times [B, F]."""

    rgb: Tensor
    alpha: Tensor
    origins: Tensor
    directions: Tensor
    times: Tensor
    viewmats: Tensor
    pixel_angle: Tensor  # [B, F] width of a pixel at unit distance
    sweep: Sweep | None = None


def build_head(config: HeadConfig) -> PaperHead | MovingHead:
    """Build the head that a config describes.

    Raises:
        InputError: not a head's config.
    """
    if isinstance(config, PaperHeadConfig):
        return PaperHead()
    if isinstance(config, MovingHeadConfig):
        return MovingHead(config)
    raise InputError(f"head: expected PaperHeadConfig or MovingHeadConfig, got {config!r}")


def pixel_context(frames: Frames, sweep: Sweep | None = None) -> PixelContext:
    """Compute rays and footprints of all pixels, in float32."""
    H, W = frames.rgb.shape[2:4]
    origins, directions = pixel_rays(frames.viewmats, frames.Ks, W, H)
    return PixelContext(frames.rgb, frames.alpha, origins, directions, frames.times, frames.viewmats, 1 / frames.Ks[..., 0, 0], sweep)


def pixel_maps(frames: Frames, context: PixelContext) -> list[Tensor]:
    """Return [rgb, t, ray direction, nearest point] of every pixel (4D-LRM, section 2.2): ten channels."""
    t = frames.times[:, :, None, None, None].expand_as(frames.alpha)
    return [frames.rgb * 2 - 1, t, context.directions, nearest_points(context.origins, context.directions)]


# 4D-LRM, appendix A.1
PAPER_CHANNELS = {"xyz": 3, "t": 1, "rgb": 3, "scale_xyz": 3, "scale_t": 1, "rot_left": 4, "rot_right": 4, "opacity": 1}
NEAR, FAR = 0.1, 4.5
SH_C0 = 0.28209479177387814


def _split(channels: Tensor, table: dict[str, int]) -> dict[str, Tensor]:
    return dict(zip(table, channels.split(list(table.values()), dim=-1), strict=True))


class PaperHead(nn.Module):
    """20 channels per pixel to pixel-aligned 4D Gaussians (4D-LRM, algorithm 1).

    Attributes:
        map_channels, cell_features: input channels per pixel and per cell. channels, cell_channels: raw channels per pixel and cell.
        stride: pixels along the edge of a cell; 0 without cells.
    """

    map_channels, cell_features, channels, cell_channels, stride = 10, 0, sum(PAPER_CHANNELS.values()), 0, 0

    def context(self, frames: Frames) -> PixelContext:
        """Compute rays and footprints."""
        return pixel_context(frames)

    def inputs(self, frames: Frames, context: PixelContext, patch: int) -> Tensor:
        """Return flat patches [B, L, patch * patch * map_channels]."""
        return patchify(torch.cat(pixel_maps(frames, context), -1), patch)

    def forward(self, raw: Tensor, cells: Tensor | None, context: PixelContext) -> PredictedGaussians:
        """Activate raw channels [B, F, H, W, 20]."""
        g = _split(raw, PAPER_CHANNELS)
        share = torch.sigmoid(g["xyz"].mean(-1, keepdim=True))
        distance = (1 - share) * NEAR + share * FAR
        means = (context.origins + distance * context.directions).clamp(-1, 1)
        scales_xyz = torch.exp(g["scale_xyz"] - 2.3).clamp(max=0.3)
        scales_t = torch.exp(g["scale_t"] - 2.3).clamp(max=1.0)
        covariances = covariance_4d(g["rot_left"], g["rot_right"], scales_xyz, scales_t)
        velocities, sigmas, quats, scales = moving_shape(covariances)
        return _flatten(
            means=means,
            velocities=velocities,
            time_centers=g["t"][..., 0],
            time_sigmas=sigmas,
            quats=quats,
            scales=scales,
            opacities=torch.sigmoid(g["opacity"][..., 0] - 2.0),
            colors=SH_C0 * g["rgb"] + 0.5,
        )


EMPTY = 1e-3  # weight of the middle sample: the fallback when no sample is occupied
MOVING_CHANNELS = {
    "opacity": 1, "depth": 1, "velocity": 3, "time_center": 1, "time_sigma": 1, "scale": 3, "quat": 4, "color": 3,
}  # fmt: skip


class MovingHead(nn.Module):
    """17 channels per pixel and D per cell to pixel-aligned Gaussians in linear motion; attributes as in PaperHead."""

    map_channels, channels = 11, sum(MOVING_CHANNELS.values())

    def __init__(self, config: MovingHeadConfig) -> None:
        super().__init__()
        self.config = sweep = config.sweep
        self.stride, self.cell_features, self.cell_channels = sweep.stride, sweep.depths * sweep.channels, sweep.depths
        self.silhouette_gain = nn.Parameter(torch.tensor([3.0, 1.5][: len(sweep.windows)]))
        offsets = torch.linspace(-sweep.reach, sweep.reach, sweep.depths)
        self.depth_prior = nn.Parameter((8 * (0.6 - offsets.abs())).clamp(-4, 3))  # objects surround the look-at point

    def context(self, frames: Frames) -> PixelContext:
        """Compute rays, footprints and the plane sweep."""
        return pixel_context(frames, plane_sweep(frames.rgb, frames.alpha, frames.times, frames.viewmats, frames.Ks, self.config))

    def inputs(self, frames: Frames, context: PixelContext, patch: int) -> Tensor:
        """Return flat patches [B, L, patch * patch * 11 + cells * cell_features], with alpha and the sweep's evidence."""
        assert context.sweep is not None
        pixels = patchify(torch.cat([*pixel_maps(frames, context), frames.alpha * 2 - 1], -1), patch)
        silhouettes = context.sweep.silhouettes.flatten(-2) * 0.5 + 1
        features = torch.cat([silhouettes, context.sweep.colors * 4 - 1], -1)
        return torch.cat([pixels, patchify(features, patch // self.stride)], -1)

    def forward(self, raw: Tensor, cells: Tensor | None, context: PixelContext) -> PredictedGaussians:
        """Activate raw channels [B, F, H, W, 17] and cell logits [B, F, h, w, D]."""
        assert cells is not None
        assert context.sweep is not None
        g = _split(raw, MOVING_CHANNELS)
        distance = self._surface(cells, context) + 0.1 * torch.tanh(g["depth"])
        footprint = distance * context.pixel_angle[:, :, None, None, None]
        camera = matrices_to_quats(context.viewmats[..., :3, :3].transpose(-1, -2))[:, :, None, None]
        upright = torch.tensor([1.0, 0, 0, 0], device=raw.device)
        times = context.times[:, :, None, None]
        return _flatten(
            means=context.origins + distance * context.directions,
            velocities=0.3 * g["velocity"],
            time_centers=times + 0.3 * g["time_center"][..., 0],
            time_sigmas=initial_sigma(context.times)[:, None, None, None] * torch.exp(1.5 * torch.tanh(g["time_sigma"][..., 0])),
            quats=multiply(camera.expand_as(g["quat"]), upright + g["quat"]),
            scales=0.4 * footprint * torch.exp(1.5 * torch.tanh(g["scale"])),
            opacities=context.alpha[..., 0] * torch.sigmoid(2.0 + 2 * g["opacity"][..., 0]),
            colors=torch.sigmoid(torch.logit(context.rgb.clamp(0.005, 0.995)) + g["color"]),
        )

    def _surface(self, cells: Tensor, context: PixelContext) -> Tensor:
        """Return the ray distance [B, F, H, W, 1] of the surface: the expected first occupied depth, as in volume rendering."""
        sweep = context.sweep
        assert sweep is not None
        logits = (sweep.silhouettes * self.silhouette_gain).sum(-1) + self.depth_prior + cells
        occupied = torch.sigmoid(logits)
        free = torch.cumprod(torch.cat([torch.ones_like(occupied[..., :1]), 1 - occupied], -1), -1)[..., :-1]
        first = occupied * free
        middle = sweep.distances[..., sweep.distances.shape[-1] // 2]
        surface = ((first * sweep.distances).sum(-1) + EMPTY * middle) / (first.sum(-1) + EMPTY)
        # upsample from cells to pixels, weighted by alpha
        B, frames, H, W, _ = context.alpha.shape
        h, w = surface.shape[2:4]
        weight = F.adaptive_avg_pool2d(context.alpha[..., 0].flatten(0, 1)[:, None], (h, w)) + 1e-3
        both = torch.cat([surface.flatten(0, 1)[:, None] * weight, weight], 1)
        fine = F.interpolate(both, (H, W), mode="bilinear", align_corners=False)
        return (fine[:, :1] / fine[:, 1:]).view(B, frames, H, W, 1)


def initial_sigma(times: Tensor) -> Tensor:
    """Return the initial time sigma [B]: 0.9 of the mean spacing of the input times [B, F], within [0.04, 1]."""
    span = times.amax(1) - times.amin(1)
    return (0.9 * span / max(times.shape[1] - 1, 1)).clamp(0.04, 1.0)


def _flatten(**fields: Tensor) -> PredictedGaussians:
    """Flatten [B, F, H, W, ...] to [B, N, ...]: view-major, then row-major pixels."""
    return PredictedGaussians(**{name: value.flatten(1, 3).float() for name, value in fields.items()})
