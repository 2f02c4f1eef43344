"""Training losses of images [..., H, W, C] in [0, 1]."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def mse(predicted: Tensor, target: Tensor) -> Tensor:
    """Compute the mean squared error over all elements."""
    return F.mse_loss(predicted, target)


def gradient_difference(predicted: Tensor, target: Tensor) -> Tensor:
    """Compute the mean absolute difference of horizontal and vertical image gradients, at full and half resolution.

    The structural term: it penalises blurred edges, which a mean squared error tolerates. Images are [F, H, W, C].
    """
    total = predicted.new_zeros(())
    for _ in range(2):
        for axis in (-3, -2):
            total = total + (predicted.diff(dim=axis) - target.diff(dim=axis)).abs().mean()
        predicted, target = (F.avg_pool2d(x.movedim(-1, -3), 2).movedim(-3, -1) for x in (predicted, target))
    return total / 4
