"""LPIPS (Zhang et al., CVPR 2018), version 0.1 over VGG16: a network's opinion of how different two pictures look.

The network's weights (torchvision's VGG16, 553 MB) come through the hub as safetensors and are never required; the 1,472 weights of
the comparison ship with the package (BSD-2-Clause, ``lpips-vgg-linear.md``).
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
AT_ONCE = 8


class LPIPS(nn.Module):
    """The distance of pictures, 0 for equal ones."""

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
        """[F] distances of pictures [F, H, W, 3] in [0, 1]."""
        total = torch.zeros(len(predicted), device=predicted.device)
        shift, scale = (torch.tensor(v, device=predicted.device)[:, None, None] for v in (SHIFT, SCALE))
        x, y = ((t.clamp(0, 1).float().permute(0, 3, 1, 2) * 2 - 1 - shift) / scale for t in (predicted, target))
        stage = 0
        for index, layer in enumerate(self.features):
            x, y = layer(x), layer(y)
            if index == self.taps[stage]:
                difference = (_unit(x) - _unit(y)) ** 2
                total = total + (difference * self.linear[stage].to(x)[:, None, None]).sum(1).mean((1, 2))
                stage += 1
                if stage == len(self.taps):
                    break
        return total


def load_lpips(weights: str | Path | None = None) -> LPIPS:
    """LPIPS with VGG16's weights from a file, or from the hub.

    Raises:
        UnavailableError: the weights are not here and cannot be fetched.
    """
    found = load_file(fetch(BACKBONE, LICENCE) if weights is None else weights)
    network = LPIPS()
    network.load_state_dict({name: t.float() for name, t in found.items() if name.startswith("features.")})
    return network.eval()


def mean_lpips(network: LPIPS, predicted: Tensor, target: Tensor) -> float:
    """The mean over pictures [F, H, W, 3]."""
    with torch.no_grad():
        parts = [network(predicted[i : i + AT_ONCE], target[i : i + AT_ONCE]) for i in range(0, len(predicted), AT_ONCE)]
    return float(torch.cat(parts).mean())


def _unit(x: Tensor) -> Tensor:
    return x / ((x**2).sum(1, keepdim=True).sqrt() + 1e-10)
