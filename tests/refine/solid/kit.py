"""Small videos with known motion, for the tests of solid bodies."""

from __future__ import annotations

import math
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor

from chronosplat.cameras import orbit
from chronosplat.captures import Views

SIZE = 48


def grid(size: int = SIZE) -> tuple[Tensor, Tensor]:
    """x and y of pixel centres, [size, size] each."""
    y, x = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    return x, y


def disc(cx: float, cy: float, radius: float, size: int = SIZE) -> Tensor:
    """A mask [size, size], bool."""
    x, y = grid(size)
    return (x - cx) ** 2 + (y - cy) ** 2 < radius**2


def bar(cx: float, cy: float, angle: float, length: float, width: float, size: int = SIZE) -> tuple[Tensor, Tensor]:
    """A bar's alpha [size, size], soft over a pixel, and colours [size, size, 3] that change along and across it."""
    x, y = grid(size)
    c, s = math.cos(angle), math.sin(angle)
    along, across = c * (x - cx) + s * (y - cy), -s * (x - cx) + c * (y - cy)
    alpha = (length / 2 - along.abs() + 0.5).clamp(0, 1) * (width / 2 - across.abs() + 0.5).clamp(0, 1)
    colors = torch.stack([0.5 + along / length, 0.4 + 0.5 * across / width, 0.5 - 0.8 * along / length], -1)
    return alpha, colors.clamp(0.05, 0.9)


def video(frames: list[tuple[Tensor, Tensor]], seconds: list[float] | None = None) -> Views:
    """Views of one static camera from alphas [H, W] and colours [H, W, 3]."""
    alphas, images = (torch.stack(part) for part in zip(*frames, strict=True))
    times = torch.tensor(list(range(len(frames))) if seconds is None else seconds, dtype=torch.float64)
    cameras = orbit([0.0] * len(frames), 0.0, alphas.shape[-1])
    return Views(images, alphas[..., None], cameras, times, torch.tensor([0.0, 1.0, 0.0]))


def sliding_bar(count: int = 4, step: float = 3.0) -> Views:
    """A bar that moves to the right and turns a little."""
    return video([bar(18 + step * i, 24, 0.5 + 0.1 * i, 22, 9) for i in range(count)])


class Sloped(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a number."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float) -> Tensor:
        ctx.slope = slope
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0] * ctx.slope, None


def spoil_losses(monkeypatch: pytest.MonkeyPatch, module: str, call: int, factor: float, slope: float) -> None:
    """Multiply a loss of a module of solid/, and its gradient, counted from 1."""
    where, calls = import_module(f"chronosplat.refine.solid.{module}"), [0]
    usual = where.pyramid_loss

    def spoiled(*arguments: Any) -> Tensor:
        calls[0] += 1
        loss = usual(*arguments)
        return Sloped.apply(loss * factor, slope) if calls[0] == call else loss  # pyright: ignore[reportReturnType]

    monkeypatch.setattr(where, "pyramid_loss", spoiled)
