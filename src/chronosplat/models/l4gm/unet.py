"""LGM's asymmetric U-Net with L4GM's temporal attention: V views of T frames to one map per view and frame.

Attention alternates between two groupings of the same tokens (L4GM, section 4.1): across the views of one frame, then
across the frames of one view. Module names are those of the released checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chronosplat.models.l4gm.config import UNetConfig
from chronosplat.models.precision import Conv2d, Linear, attend

SKIP_SCALE = math.sqrt(0.5)


@dataclass(frozen=True)
class Grid:
    """The factors of a feature map's batch axis [B * T * V, C, H, W]."""

    batch: int
    frames: int
    views: int


class SelfAttention(nn.Module):
    """Attention among tokens [B, L, C], through torch's fused kernels: the explicit matrix of 16 frames takes 64 GiB."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = Linear(width, 3 * width, bias=False)
        self.proj = Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Update x [B, L, C]."""
        B, L, C = x.shape
        q, k, v = self.qkv(x).view(B, L, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        out = attend(q, k, v)
        return self.proj(out.transpose(1, 2).reshape(B, L, C))


class GridAttention(nn.Module):
    """Attention over all pixels of a frame's views, or of a view's frames (``across_time``)."""

    def __init__(self, width: int, config: UNetConfig, across_time: bool) -> None:
        super().__init__()
        self.across_time = across_time
        self.norm = nn.GroupNorm(config.groups, width, eps=1e-5)
        self.attn = SelfAttention(width, config.heads)

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """Update x [B * T * V, C, H, W]."""
        _, C, H, W = x.shape
        maps = self.norm(x).view(grid.batch, grid.frames, grid.views, C, H, W)
        maps = maps.transpose(1, 2) if self.across_time else maps
        _, groups, members = maps.shape[:3]
        tokens = maps.permute(0, 1, 2, 4, 5, 3).reshape(-1, members * H * W, C)
        mixed = self.attn(tokens).view(grid.batch, groups, members, H, W, C).permute(0, 1, 2, 5, 3, 4)
        mixed = mixed.transpose(1, 2) if self.across_time else mixed
        return (x + mixed.reshape(x.shape)) * SKIP_SCALE


class ResBlock(nn.Module):
    """Two normalised convolutions with a residual connection."""

    def __init__(self, inputs: int, outputs: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inputs, eps=1e-5)
        self.conv1 = Conv2d(inputs, outputs, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, outputs, eps=1e-5)
        self.conv2 = Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, H, W]."""
        inner = self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))
        return (inner + self.shortcut(x)) * SKIP_SCALE


class Level(nn.Module):
    """Residual blocks, each followed by attention across views and then across time, if the level has them."""

    def __init__(self, widths: Sequence[tuple[int, int]], attention: int, config: UNetConfig) -> None:
        super().__init__()
        self.nets = nn.ModuleList(ResBlock(i, o, config.groups) for i, o in widths)
        width = widths[-1][1]
        if attention:
            self.attns = nn.ModuleList(GridAttention(width, config, across_time=False) for _ in range(attention))
        if attention and config.temporal:
            self.t_attns = nn.ModuleList(GridAttention(width, config, across_time=True) for _ in range(attention))
        self.attention, self.temporal = attention, config.temporal

    def attend(self, index: int, x: Tensor, grid: Grid) -> Tensor:
        """Apply the attention after block ``index``, if the level has any."""
        if not self.attention:
            return x
        x = self.attns[index](x, grid)
        return self.t_attns[index](x, grid) if self.temporal else x


class DownLevel(Level):
    """A level of the encoder; all but the coarsest end by halving the size."""

    def __init__(self, inputs: int, outputs: int, attention: bool, last: bool, config: UNetConfig) -> None:
        widths = [(inputs if i == 0 else outputs, outputs) for i in range(config.layers)]
        super().__init__(widths, config.layers if attention else 0, config)
        self.downsample = None if last else Conv2d(outputs, outputs, 3, stride=2, padding=1)

    def forward(self, x: Tensor, grid: Grid) -> tuple[Tensor, list[Tensor]]:
        """Return the map, and the maps for the skips."""
        skips = []
        for i, net in enumerate(self.nets):
            x = self.attend(i, net(x), grid)
            skips.append(x)
        if self.downsample is not None:
            x = self.downsample(x)
            skips.append(x)
        return x, skips


class MidLevel(Level):
    """The coarsest level: a block, attention, a block."""

    def __init__(self, width: int, config: UNetConfig) -> None:
        super().__init__([(width, width)] * 2, 1 if config.mid_attention else 0, config)

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """Update x [N, C, H, W]."""
        return self.nets[1](self.attend(0, self.nets[0](x), grid))


class UpLevel(Level):
    """A level of the decoder; all but the finest end by doubling the size."""

    def __init__(self, inputs: int, skip: int, outputs: int, attention: bool, last: bool, config: UNetConfig) -> None:
        count = config.layers + 1
        widths = [((inputs if i == 0 else outputs) + (skip if i == count - 1 else outputs), outputs) for i in range(count)]
        super().__init__(widths, count if attention else 0, config)
        self.upsample = None if last else Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x: Tensor, skips: list[Tensor], grid: Grid) -> Tensor:
        """Update x; pops its skips off the end of the list."""
        for i, net in enumerate(self.nets):
            x = self.attend(i, net(torch.cat([x, skips.pop()], dim=1)), grid)
        if self.upsample is not None:
            x = self.upsample(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return x


class UNet(nn.Module):
    """The encoder, the coarsest level and the decoder, which has fewer levels than the encoder."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        down, up = config.down_channels, config.up_channels
        self.conv_in = Conv2d(config.in_channels, down[0], 3, padding=1)
        self.down_blocks = nn.ModuleList(
            DownLevel(down[max(i - 1, 0)], width, config.down_attention[i], i == len(down) - 1, config) for i, width in enumerate(down)
        )
        self.mid_block = MidLevel(down[-1], config)
        self.up_blocks = nn.ModuleList(
            UpLevel((down[-1:] + up)[i], down[max(-2 - i, -len(down))], width, config.up_attention[i], i == len(up) - 1, config)
            for i, width in enumerate(up)
        )
        self.norm_out = nn.GroupNorm(config.groups, up[-1], eps=1e-5)
        self.conv_out = Conv2d(up[-1], config.out_channels, 3, padding=1)

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """Map [B * T * V, in_channels, H, W] to [B * T * V, out_channels, h, w]; h < H by the decoder's missing levels."""
        x = self.conv_in(x)
        skips = [x]
        for level in self.down_blocks:
            x, more = level(x, grid)
            skips.extend(more)
        x = self.mid_block(x, grid)
        for level in self.up_blocks:
            x = level(x, skips, grid)
        return self.conv_out(F.silu(self.norm_out(x.to(self.conv_out.weight.dtype))))
