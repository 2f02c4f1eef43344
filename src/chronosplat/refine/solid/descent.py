"""Steps of Adam that change nothing where a loss or a gradient is not finite."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

EPS = 1e-12


class Descent:
    """Adam (Kingma and Ba, ICLR 2015) over tensors by name, which change in place.

    Args:
        tensors: leaves that require gradients. lrs: the learning rate of each.
    """

    def __init__(self, tensors: Mapping[str, Tensor], lrs: Mapping[str, float], betas: tuple[float, float]) -> None:
        groups = [{"params": [tensors[name]], "base": lr} for name, lr in lrs.items()]
        self._adam = torch.optim.Adam(groups, lr=0.0, betas=betas, eps=EPS, fused=True)

    def step(self, loss: Tensor, scale: float) -> str:
        """Step along a loss's gradients with ``scale`` times the learning rates; return why not ("" if it did)."""
        if not bool(torch.isfinite(loss)):
            return "the loss became NaN"
        self._adam.zero_grad()
        loss.backward()
        for group in self._adam.param_groups:
            group["lr"] = group["base"] * scale
            if any(t.grad is not None and not bool(t.grad.isfinite().all()) for t in group["params"]):
                return "a gradient became NaN"
        self._adam.step()
        return ""
