"""Reduced precision on any processor.

bf16 and fp16 halve the memory of weights and activations. Where a processor has no arithmetic for them, torch's kernels
fall back to ones that are many times slower than float32; there the layers below keep what they store in the reduced type
and compute in float32, a few pictures at a time.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLICE = 4  # pictures that are widened at once


def bf16_is_fast(device: torch.device | str) -> bool:
    """Whether bf16 pays: on CUDA, and on CPUs with bf16 arithmetic."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()  # pyright: ignore[reportPrivateUsage]


def must_widen(x: Tensor) -> bool:
    """Whether to compute in float32 what is stored in the type of ``x``."""
    return x.dtype in (torch.bfloat16, torch.float16) and x.device.type == "cpu" and not (x.dtype == torch.bfloat16 and bf16_is_fast("cpu"))


class Conv2d(nn.Conv2d):
    """A convolution in the type of its weights, or in float32 where that is faster."""

    def forward(self, input: Tensor) -> Tensor:
        """[N, C, H, W] as nn.Conv2d."""
        if not must_widen(input):
            return super().forward(input)
        weight, bias = self.weight.float(), None if self.bias is None else self.bias.float()
        parts = [self._conv_forward(part.float(), weight, bias).to(input.dtype) for part in input.split(SLICE)]
        return torch.cat(parts)


class Linear(nn.Linear):
    """A linear layer in the type of its weights, or in float32 where that is faster."""

    def forward(self, input: Tensor) -> Tensor:
        """[..., C] as nn.Linear."""
        if not must_widen(input):
            return super().forward(input)
        weight, bias = self.weight.float(), None if self.bias is None else self.bias.float()
        rows = input if input.dim() > 1 else input[None]
        parts = [F.linear(part.float(), weight, bias).to(input.dtype) for part in rows.split(SLICE)]
        return torch.cat(parts).view(*input.shape[:-1], self.out_features)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Scaled dot-product attention [B, heads, L, C], through torch's fused kernels."""
    if not must_widen(q):
        return F.scaled_dot_product_attention(q, k, v)
    singles = zip(q.split(1), k.split(1), v.split(1), strict=True)
    return torch.cat([F.scaled_dot_product_attention(a.float(), b.float(), c.float()).to(q.dtype) for a, b, c in singles])
