"""Sizes of L4GM's networks, and their input maps."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from chronosplat.cameras import orbit, pixel_rays, plucker_lgm
from chronosplat.models.l4gm.activations import CHANNELS
from chronosplat.shapes import check_shape

IMAGE_MEAN, IMAGE_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's


@dataclass(frozen=True)
class UNetConfig:
    """Channels and attention per level, from fine to coarse (down) and back (up); LGM's "big" by default."""

    in_channels: int = 9
    out_channels: int = 14
    down_channels: tuple[int, ...] = (64, 128, 256, 512, 1024, 1024)
    down_attention: tuple[bool, ...] = (False, False, False, True, True, True)
    mid_attention: bool = True
    up_channels: tuple[int, ...] = (1024, 1024, 512, 256, 128)
    up_attention: tuple[bool, ...] = (True, True, True, False, False)
    layers: int = 2
    heads: int = 16
    groups: int = 32
    temporal: bool = True

    @property
    def shrinks(self) -> int:
        """Downsampling factor of the coarsest level; image sizes must be multiples of it."""
        return 2 ** (len(self.down_channels) - 1)


@dataclass(frozen=True)
class L4GMConfig:
    """Sizes of one network; the released L4GM's by default.

    Attributes:
        input_size, splat_size: side of the input images and of the output maps in pixels.
        frames: T in training; any T works. views: V, at even azimuths.
        fovy: degrees. radius: distance of the cameras from the origin of the normalised world.
    """

    unet: UNetConfig = field(default_factory=UNetConfig)
    input_size: int = 256
    splat_size: int = 128
    frames: int = 8
    views: int = 4
    fovy: float = 49.1
    radius: float = 1.5

    @property
    def per_pixel(self) -> int:
        """Gaussians per pixel of the output maps: 1, or 2 (the released option ``gaussian_perpixel``)."""
        return self.unet.out_channels // sum(CHANNELS.values())

    @property
    def num_gaussians(self) -> int:
        """Gaussians per frame."""
        return self.views * self.splat_size**2 * self.per_pixel


def input_maps(rgb: Tensor, config: L4GMConfig, elevation: float = 0.0) -> Tensor:
    """Build the network's input.

    Args:
        rgb: [B, T, V, H, W, 3] in [0, 1] on white, views at azimuths 0, 360 / V, ...
        elevation: of the cameras, in degrees.

    Returns:
        [B, T * V, 9, H, W]: ImageNet-normalised colours, then Plücker rays (o x d, d).
    """
    sizes = check_shape("rgb", rgb, "B T V H W 3")
    B, T, V, H, W = (sizes[axis] for axis in "BTVHW")
    mean, std = rgb.new_tensor(IMAGE_MEAN), rgb.new_tensor(IMAGE_STD)
    colors = ((rgb - mean) / std).movedim(-1, -3)
    rays = input_rays(V, H, config, elevation).to(rgb)
    return torch.cat([colors, rays.expand(B, T, V, 6, H, W)], dim=3).flatten(1, 2)


def input_rays(views: int, size: int, config: L4GMConfig, elevation: float = 0.0) -> Tensor:
    """Return the Plücker rays [V, 6, H, W] of cameras at even azimuths."""
    cameras = orbit([360.0 * i / views for i in range(views)], elevation, size, config.radius, config.fovy)
    return plucker_lgm(*pixel_rays(cameras.viewmats, cameras.Ks, size, size)).movedim(-1, -3)
