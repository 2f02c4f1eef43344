"""Transformer blocks as in GS-LRM and 4D-LRM: pre-norm, no bias, GELU, global attention."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """Multi-head self-attention over all tokens, without mask or positional encoding."""

    def __init__(self, width: int, heads: int, qk_norm: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.q_norm, self.k_norm = (nn.LayerNorm(width // heads, bias=False) if qk_norm else nn.Identity() for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Update tokens [B, L, width]."""
        B, L, width = x.shape
        q, k, v = self.qkv(x).view(B, L, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        q, k = self.q_norm(q).to(v.dtype), self.k_norm(k).to(v.dtype)  # norms may run in fp32 under autocast
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.out(mixed.transpose(1, 2).reshape(B, L, width))


class Block(nn.Module):
    """One layer: self-attention, then a two-layer GELU network."""

    def __init__(self, width: int, heads: int, mlp_ratio: int, qk_norm: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, bias=False)
        self.attention = SelfAttention(width, heads, qk_norm)
        self.norm2 = nn.LayerNorm(width, bias=False)
        expand, project = nn.Linear(width, mlp_ratio * width, bias=False), nn.Linear(mlp_ratio * width, width, bias=False)
        self.mlp = nn.Sequential(expand, nn.GELU(), project)

    def forward(self, x: Tensor) -> Tensor:
        """Update tokens [B, L, width]."""
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


def patchify(maps: Tensor, patch: int) -> Tensor:
    """Cut pixel maps [B, F, H, W, C] into flat patches [B, F H/p W/p, p p C]."""
    B, F_, H, W, C = maps.shape
    rows, columns = H // patch, W // patch
    tiles = maps.view(B, F_, rows, patch, columns, patch, C).permute(0, 1, 2, 4, 3, 5, 6)
    return tiles.reshape(B, F_ * rows * columns, patch * patch * C)


def unpatchify(tokens: Tensor, patch: int, frames: int, height: int, width: int) -> Tensor:
    """Invert :func:`patchify`."""
    B = tokens.shape[0]
    rows, columns = height // patch, width // patch
    tiles = tokens.view(B, frames, rows, columns, patch, patch, -1).permute(0, 1, 2, 4, 3, 5, 6)
    return tiles.reshape(B, frames, height, width, -1)
