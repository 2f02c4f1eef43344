"""LPIPS (Zhang et al., CVPR 2018), version 0.1 over VGG16: perceptual distance of two images.

The hub provides the optional backbone (torchvision's VGG16, 553 MB, safetensors). The package ships the 1,472 weights of
the linear layers (BSD-2-Clause, ``lpips-vgg-linear.md``).
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from chronosplat.models.hub import HubFile, fetch

BACKBONE = HubFile("timm/vgg16.tv_in1k", "model.safetensors")
LICENCE = "BSD-3-Clause"
LINEAR = Path(__file__).parent / "lpips-vgg-linear.safetensors"
STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
BATCH = 8  # images per forward pass


class LPIPS(nn.Module):
    """The LPIPS network; identical images have distance 0."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self.taps: list[int] = []  # after the last ReLU of each stage
        channels = 3
        for index, widths in enumerate(STAGES):
            layers += [nn.MaxPool2d(2, 2)] if index else []
            for width in widths:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            self.taps.append(len(layers) - 1)
        self.features = nn.Sequential(*layers)
        linear = load_file(LINEAR)
        self.linear = [linear[f"lin{i}"] for i in range(len(STAGES))]

    def forward(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Compute the distances [F] of images [F, H, W, 3] in [0, 1]."""
        total = torch.zeros(len(predicted), device=predicted.device)
        shift, scale = (torch.tensor(v, device=predicted.device)[:, None, None] for v in (SHIFT, SCALE))
        x, y = ((t.clamp(0, 1).float().permute(0, 3, 1, 2) * 2 - 1 - shift) / scale for t in (predicted, target))
        for index, layer in enumerate(self.features):
            x, y = layer(x), layer(y)
            if index in self.taps:
                difference = (_unit(x) - _unit(y)) ** 2
                total = total + (difference * self.linear[self.taps.index(index)].to(x)[:, None, None]).sum(1).mean((1, 2))
        return total


def load_lpips(weights: str | Path | None = None) -> LPIPS:
    """Load LPIPS with VGG16 weights from a file, or from the hub.

    Raises:
        UnavailableError: the weights are not cached and cannot be downloaded.
    """
    tensors = load_file(fetch(BACKBONE, LICENCE) if weights is None else weights)
    network = LPIPS()
    network.load_state_dict({name: t.float() for name, t in tensors.items() if name.startswith("features.")})
    return network.eval()


def mean_lpips(network: LPIPS, predicted: Tensor, target: Tensor) -> float:
    """Average the distances of images [F, H, W, 3]."""
    with torch.no_grad():
        parts = [network(predicted[i : i + BATCH], target[i : i + BATCH]) for i in range(0, len(predicted), BATCH)]
    return float(torch.cat(parts).mean())


def _unit(x: Tensor) -> Tensor:
    return x / ((x**2).sum(1, keepdim=True).sqrt() + 1e-10)
