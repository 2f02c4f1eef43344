"""Reduced precision on any processor.

bf16 and fp16 halve the memory of weights and activations. On a CPU without arithmetic for them, torch's kernels are many
times slower than float32. There these layers store the reduced type and compute in float32, a few images at a time.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLICE = 4  # images converted to float32 at once


def bf16_is_fast(device: torch.device | str) -> bool:
    """Whether the device has bf16 arithmetic."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()  # pyright: ignore[reportPrivateUsage]


def must_widen(x: Tensor) -> bool:
    """Whether to compute in float32 although ``x`` is bf16 or fp16."""
    return x.dtype in (torch.bfloat16, torch.float16) and x.device.type == "cpu" and not (x.dtype == torch.bfloat16 and bf16_is_fast("cpu"))


class Conv2d(nn.Conv2d):
    """A convolution in the type of its weights, or in float32 where that is faster."""

    def forward(self, input: Tensor) -> Tensor:
        """Convolve [N, C, H, W]."""
        if not must_widen(input):
            return super().forward(input)
        weight, bias = self.weight.float(), None if self.bias is None else self.bias.float()
        parts = [self._conv_forward(part.float(), weight, bias).to(input.dtype) for part in input.split(SLICE)]
        return torch.cat(parts)


class Linear(nn.Linear):
    """A linear layer in the type of its weights, or in float32 where that is faster."""

    def forward(self, input: Tensor) -> Tensor:
        """Map [..., C] to [..., out_features]."""
        if not must_widen(input):
            return super().forward(input)
        weight, bias = self.weight.float(), None if self.bias is None else self.bias.float()
        rows = input if input.dim() > 1 else input[None]
        parts = [F.linear(part.float(), weight, bias).to(input.dtype) for part in rows.split(SLICE)]
        return torch.cat(parts).view(*input.shape[:-1], self.out_features)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Compute scaled dot-product attention [B, heads, L, C] with torch's fused kernels."""
    if not must_widen(q):
        return F.scaled_dot_product_attention(q, k, v)
    singles = zip(q.split(1), k.split(1), v.split(1), strict=True)
    return torch.cat([F.scaled_dot_product_attention(a.float(), b.float(), c.float()).to(q.dtype) for a, b, c in singles])
