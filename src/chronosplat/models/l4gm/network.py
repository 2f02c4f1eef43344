"""L4GM: from images at four azimuths per frame to one set of 3D Gaussians per frame.

One network, three uses: ``lgm`` (one frame, no temporal attention), ``l4gm`` (any number of frames) and ``l4gm-interp``
(four frames, the middle two interpolated). There is no time embedding, so the number of frames may change at inference
(L4GM, section 4.1).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from chronosplat.captures import Views
from chronosplat.models.l4gm.activations import PredictedSplats, activate_splats
from chronosplat.models.l4gm.config import L4GMConfig
from chronosplat.models.l4gm.reconstruct import reconstruct_frames
from chronosplat.models.l4gm.unet import Grid, UNet
from chronosplat.models.precision import Conv2d
from chronosplat.scenes import GaussianSequence
from chronosplat.shapes import InputError, check_shape


class L4GM(nn.Module):
    """Maps [B, T * V, 9, H, W] to PredictedSplats [B, T, V * h * w, ...]."""

    def __init__(self, config: L4GMConfig) -> None:
        super().__init__()
        self.config = config
        self.unet = UNet(config.unet)
        self.conv = Conv2d(config.unet.out_channels, config.unet.out_channels, 1)
        for parameter in self.parameters():  # convolutions are faster in this layout
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def forward(self, maps: Tensor, views: int | None = None) -> PredictedSplats:
        """Predict one set of Gaussians per frame: view-major, then row-major pixels, then Gaussians per pixel.

        Args:
            maps: [B, T * V, 9, H, W] from ``input_maps``, time-major.
            views: V; the config's if None.

        Raises:
            InputError: another shape, or a number of maps that is no multiple of V.
        """
        views = self.config.views if views is None else views
        sizes = check_shape("maps", maps, f"B F {self.config.unet.in_channels} H W")
        B, count, H, W = (sizes[axis] for axis in "BFHW")
        shrinks = self.config.unet.shrinks
        if count == 0 or count % views:
            raise InputError(f"maps: expected a multiple of {views} views, got {count} maps")
        if H % shrinks or W % shrinks:
            raise InputError(f"maps: expected a size that is a multiple of {shrinks}, got {W}x{H}")
        grid = Grid(B, count // views, views)
        dtype = self.unet.conv_in.weight.dtype
        x = maps.flatten(0, 1).to(dtype=dtype, memory_format=torch.channels_last)
        raw = self.conv(self.unet(x, grid)).float()  # activations in full precision
        _, C, h, w = raw.shape
        per_pixel = self.config.per_pixel
        raw = raw.view(B, grid.frames, views, C, h, w).permute(0, 1, 2, 4, 5, 3)
        raw = raw.reshape(B, grid.frames, views * h * w * per_pixel, C // per_pixel)
        return activate_splats(raw)

    def lowered(self, dtype: torch.dtype) -> L4GM:
        """Convert to ``dtype`` in place, except for the last layers: positions need more digits than bf16 has."""
        for part in self.unet.children():
            if part not in (self.unet.norm_out, self.unet.conv_out):
                part.to(dtype)
        return self

    def reconstruct(self, views: Views) -> GaussianSequence:
        """Reconstruct every timestamp; see :func:`chronosplat.models.l4gm.reconstruct.reconstruct_frames`."""
        return reconstruct_frames(self, views, self.config, next(self.parameters()).device)
