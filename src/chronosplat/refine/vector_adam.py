"""Adam for vectors: the step follows the gradient's direction, whatever the axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

BETAS = (0.9, 0.99)


@dataclass
class _Moments:
    first: Tensor
    second: Tensor


class VectorAdam:
    """Adam (Kingma and Ba, ICLR 2015) with one second moment for all components of a vector (Ling et al., NeurIPS 2022).

    Adam steps equally along all axes, however small the gradient's component. A video constrains depth weakly: along it,
    such steps are a random walk.

    Args:
        parameters: tensors [..., D] of vectors, each with its learning rate.
    """

    def __init__(self, parameters: Sequence[tuple[Tensor, float]]) -> None:
        self.parameters = list(parameters)
        self.moments = [_Moments(torch.zeros_like(t), torch.zeros_like(t[..., :1])) for t, _ in self.parameters]
        self.steps = 0

    def step(self, scale: float = 1.0) -> None:
        """Make a step with ``scale`` times the learning rates, and clear the gradients."""
        self.steps += 1
        with torch.no_grad():
            for (tensor, lr), moments in zip(self.parameters, self.moments, strict=True):
                if tensor.grad is None:
                    continue
                moments.first.lerp_(tensor.grad, 1 - BETAS[0])
                moments.second.lerp_(tensor.grad.square().mean(-1, keepdim=True), 1 - BETAS[1])
                first = moments.first / (1 - BETAS[0] ** self.steps)
                second = moments.second / (1 - BETAS[1] ** self.steps)
                tensor.sub_(lr * scale * first / (second.sqrt() + 1e-15))
                tensor.grad = None
