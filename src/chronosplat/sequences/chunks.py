"""Autoregression over a long video (L4GM, section 4.2): chunks of T frames that share one frame.

The reference view's images come from the video. The other views of the first chunk are the first frame's, copied to all
frames. Later chunks use renderings of the previous chunk's last Gaussians at the same azimuths.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from chronosplat.cameras import Cameras, orbit
from chronosplat.models.l4gm import L4GM, L4GMConfig, PredictedSplats, input_maps
from chronosplat.render import render
from chronosplat.scenes import Gaussians3D
from chronosplat.shapes import InputError, check_shape


@dataclass(frozen=True)
class Span:
    """Frames ``first`` to ``last`` of a video, both included. A span begins with the last frame of the previous one."""

    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1


def plan_chunks(frames: int, size: int) -> list[Span]:
    """Cover a video with chunks of at most ``size`` frames that overlap by one.

    Raises:
        InputError: no frames, or chunks too short to overlap.
    """
    if frames < 1:
        raise InputError(f"frames: expected at least one, got {frames}")
    if size < 2 and frames > size:
        raise InputError(f"chunk: expected at least 2 frames, because chunks overlap by one; got {size}")
    if frames == 1:
        return [Span(0, 0)]
    return [Span(first, min(first + size, frames) - 1) for first in range(0, frames - 1, size - 1)]


@torch.no_grad()
def reconstruct_chunk(model: L4GM, images: Tensor, views: Tensor) -> PredictedSplats:
    """Run one forward pass, on one sample of T frames.

    Args:
        images: [T, H, W, 3] on white, the reference view. views: [V, H, W, 3] on white, all views of the first of these frames, at
            azimuths 0, 360 / V, ...; ``images`` replace view 0.

    Raises:
        InputError: shapes that do not fit the model.
    """
    size, count = model.config.input_size, model.config.views
    sizes = check_shape("images", images, f"T {size} {size} 3", remedy="resize them to the model's input size")
    check_shape("views", views, f"{count} {size} {size} 3", remedy=f"give one image for each of the model's {count} azimuths")
    rgb = views.to(images).expand(sizes["T"], *views.shape).clone()
    rgb[:, 0] = images
    return model(input_maps(rgb[None], model.config).to(next(model.parameters()).device))


def frame_of(predicted: PredictedSplats, index: int) -> Gaussians3D:
    """Return one frame of the first sample."""
    return Gaussians3D(**{name: value[0, index] for name, value in predicted.fields().items()})


@torch.no_grad()
def render_views(gaussians: Gaussians3D, config: L4GMConfig) -> Tensor:
    """Render the network's views [V, H, W, 3] on white, on the CPU, at azimuths 0, 360 / V, ..."""
    return render(gaussians, model_cameras(config)).rgb.clamp(0, 1).cpu()


def model_cameras(config: L4GMConfig) -> Cameras:
    """Return the network's training cameras."""
    return orbit([360.0 * i / config.views for i in range(config.views)], 0.0, config.input_size, config.radius, config.fovy)
