"""L4GM: pictures of an object from four sides, frame by frame, to one set of 3D Gaussians per frame.

One network in three uses: ``lgm`` (one frame, no temporal attention), ``l4gm`` (any number of frames) and
``l4gm-interp`` (four frames, of which the middle two are to be found). Time is told by order alone: there is no time
embedding, which lets the number of frames change at inference (L4GM, section 4.1).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import torch
from torch import Tensor, nn

from chronosplat.cameras import orbit, pixel_rays, plucker_lgm
from chronosplat.captures import Views
from chronosplat.gaussians import GaussianSequence
from chronosplat.models.heads import PredictedSplats, activate_splats
from chronosplat.models.precision import Conv2d
from chronosplat.models.unet import Grid, UNet, UNetConfig
from chronosplat.shapes import InputError, check_shape

IMAGE_MEAN, IMAGE_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's


@dataclass(frozen=True)
class L4GMConfig:
    """Sizes of one network; the released one by default.

    Attributes:
        input_size: pixels of the input pictures. splat_size: pixels of the output maps, one Gaussian each.
        frames: T that it was trained with; it takes any. views: V, at even azimuths.
        fovy, radius: of the cameras, in degrees and in the normalised world's units.
    """

    unet: UNetConfig = field(default_factory=UNetConfig)
    input_size: int = 256
    splat_size: int = 128
    frames: int = 8
    views: int = 4
    fovy: float = 49.1
    radius: float = 1.5


class L4GM(nn.Module):
    """Maps [B, T * V, 9, H, W] to PredictedSplats [B, T, V * h * w, ...]."""

    def __init__(self, config: L4GMConfig) -> None:
        super().__init__()
        self.config = config
        self.unet = UNet(config.unet)
        self.conv = Conv2d(config.unet.out_channels, config.unet.out_channels, 1)
        for parameter in self.parameters():  # the layout in which convolutions are fast
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def forward(self, maps: Tensor, views: int | None = None) -> PredictedSplats:
        """Predict one set of Gaussians per frame, ordered by view, then row by row.

        Args:
            maps: [B, T * V, 9, H, W] normalised colours and rays (see ``input_maps``), time before views.
            views: V; the config's if None.

        Raises:
            InputError: maps of another shape, or whose number is no multiple of V.
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
        raw = raw.view(B, grid.frames, views, C, h, w).permute(0, 1, 2, 4, 5, 3).reshape(B, grid.frames, views * h * w, C)
        return activate_splats(raw)

    def lowered(self, dtype: torch.dtype) -> L4GM:
        """Compute in ``dtype`` from now on, in place; the last layers stay float32, since positions need more digits than bf16 has."""
        for part in self.unet.children():
            if part not in (self.unet.norm_out, self.unet.conv_out):
                part.to(dtype)
        return self

    def reconstruct(self, views: Views) -> GaussianSequence:
        """A sequence in the capture's own world and seconds; see :func:`chronosplat.models.reconstruct.reconstruct_frames`."""
        from chronosplat.models.reconstruct import reconstruct_frames  # late: that module stands on this one

        return reconstruct_frames(self, views)


def input_maps(rgb: Tensor, config: L4GMConfig, elevation: float = 0.0) -> Tensor:
    """The network's input from pictures on white.

    Args:
        rgb: [B, T, V, H, W, 3] in [0, 1], views at azimuths 0, 360 / V, ...
        elevation: of the cameras, in degrees.

    Returns:
        [B, T * V, 9, H, W]: colours normalised as for ImageNet, then Plücker rays (o x d, d).

    Raises:
        InputError: another shape.
    """
    sizes = check_shape("rgb", rgb, "B T V H W 3")
    B, T, V, H, W = (sizes[axis] for axis in "BTVHW")
    mean, std = rgb.new_tensor(IMAGE_MEAN), rgb.new_tensor(IMAGE_STD)
    colors = ((rgb - mean) / std).movedim(-1, -3)
    rays = input_rays(V, H, config, elevation).to(rgb)
    return torch.cat([colors, rays.expand(B, T, V, 6, H, W)], dim=3).flatten(1, 2)


def input_rays(views: int, size: int, config: L4GMConfig, elevation: float = 0.0) -> Tensor:
    """[V, 6, H, W] Plücker rays of the cameras around the object."""
    cameras = orbit([360.0 * i / views for i in range(views)], elevation, size, config.radius, config.fovy)
    return plucker_lgm(*pixel_rays(cameras.viewmats, cameras.Ks, size, size)).movedim(-1, -3)


BASE_BYTES = 400 << 20  # of a process that has loaded torch
WORKING_MAPS = 6  # of the largest size that are alive at once beside the skips


def forward_bytes(config: L4GMConfig, frames: int, dtype: torch.dtype) -> int:
    """An estimate of the memory that a process with the model takes for one forward pass of ``frames`` frames, in bytes."""
    unet = config.unet
    areas = [channels * (config.input_size >> level) ** 2 for level, channels in enumerate(unet.down_channels)]
    skips = areas[0] + sum(unet.layers * area for area in areas)
    maps = frames * config.views * dtype.itemsize * (skips + WORKING_MAPS * max(areas))
    return BASE_BYTES + weight_bytes(config, dtype) + maps


@cache
def weight_bytes(config: L4GMConfig, dtype: torch.dtype) -> int:
    """Memory of the weights."""
    with torch.device("meta"):
        return sum(p.numel() for p in L4GM(config).parameters()) * dtype.itemsize
