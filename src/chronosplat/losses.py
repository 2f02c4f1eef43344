"""Training losses: small functions of pictures [..., H, W, C] in [0, 1]."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def mse(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean squared error over everything."""
    return F.mse_loss(predicted, target)


def gradient_difference(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of horizontal and vertical pixel differences, at full and half resolution.

    The structural term: it sees edges that a mean squared error forgives. Pictures are [F, H, W, C].
    """
    total = predicted.new_zeros(())
    for _ in range(2):
        for axis in (-3, -2):
            total = total + (predicted.diff(dim=axis) - target.diff(dim=axis)).abs().mean()
        predicted, target = (F.avg_pool2d(x.movedim(-1, -3), 2).movedim(-3, -1) for x in (predicted, target))
    return total / 4
