"""LGM's activations: raw channels to named Gaussian fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

CHANNELS = {"position": 3, "opacity": 1, "scale": 3, "rotation": 4, "rgb": 3}  # the released checkpoints' order


@dataclass(frozen=True)
class PredictedSplats:
    """B samples of T frames of N Gaussians in the normalised world; fields as in ``GaussianSequence``.

    Attributes:
        means, scales, colors: [B, T, N, 3]. quats: [B, T, N, 4]. opacities: [B, T, N].
    """

    means: Tensor
    quats: Tensor
    scales: Tensor
    opacities: Tensor
    colors: Tensor

    def fields(self) -> dict[str, Any]:
        """Return the tensors by name."""
        return dict(vars(self))


def activate_splats(raw: Tensor) -> PredictedSplats:
    """Activate raw channels [B, T, N, 14] (LGM, appendix; L4GM keeps the activations)."""
    g = dict(zip(CHANNELS, raw.split(list(CHANNELS.values()), dim=-1), strict=True))
    return PredictedSplats(
        means=g["position"].clamp(-1, 1),
        quats=F.normalize(g["rotation"], dim=-1),
        scales=0.1 * F.softplus(g["scale"]),
        opacities=g["opacity"][..., 0].sigmoid(),
        colors=0.5 * g["rgb"].tanh() + 0.5,
    )
