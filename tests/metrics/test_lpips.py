"""LPIPS against a second implementation with the same weights, and against torchmetrics. Nothing is downloaded."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from chronosplat.metrics import lpips
from chronosplat.metrics.lpips import LINEAR, LPIPS, load_lpips, mean_lpips
from chronosplat.models.hub import HubFile
from chronosplat.shapes import UnavailableError
from tests.offline import no_network

TAPS = [3, 8, 15, 22, 29]  # after relu1_2, relu2_2, relu3_3, relu4_3, relu5_3
# torchvision's VGG16: the number of each convolution in its list of layers, its channels in and out
CONVOLUTIONS = [
    (0, 3, 64), (2, 64, 64), (5, 64, 128), (7, 128, 128), (10, 128, 256), (12, 256, 256), (14, 256, 256),
    (17, 256, 512), (19, 512, 512), (21, 512, 512), (24, 512, 512), (26, 512, 512), (28, 512, 512),
]  # fmt: skip
POOLED_BEFORE = (5, 10, 17, 24)
TAPPED_AFTER = (2, 7, 14, 21, 28)


@cache
def weights() -> dict[str, Tensor]:
    """Random weights that keep activations at about the same scale."""
    random = torch.Generator().manual_seed(0)
    found = {}
    for number, before, after in CONVOLUTIONS:
        found[f"features.{number}.weight"] = torch.randn(after, before, 3, 3, generator=random) * (2 / (9 * before)) ** 0.5
        found[f"features.{number}.bias"] = torch.randn(after, generator=random) * 0.1
    return found


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights as a file that, like the published one, also holds a classifier."""
    path = tmp_path_factory.mktemp("lpips") / "vgg16.safetensors"
    save_file({**weights(), "head.fc.weight": torch.zeros(2, 4), "pre_logits.fc1.bias": torch.zeros(4)}, path)
    return path


@pytest.fixture(scope="module")
def network(file: Path) -> LPIPS:
    return load_lpips(file)


def images(seed: int, height: int = 32, width: int = 32, frames: int = 2) -> Tensor:
    return torch.rand(frames, height, width, 3, generator=torch.Generator().manual_seed(seed))


def expected_distances(predicted: Tensor, target: Tensor) -> Tensor:
    """The definition in the paper, one image and one layer at a time, in float64."""
    linear = load_file(LINEAR)
    shift = torch.tensor([-0.030, -0.088, -0.188], dtype=torch.float64)
    scale = torch.tensor([0.458, 0.448, 0.450], dtype=torch.float64)
    found = []
    for pair in zip(predicted, target, strict=True):
        x, y = (((2 * p.double() - 1 - shift) / scale).permute(2, 0, 1)[None] for p in pair)
        distance, tap = 0.0, 0
        for number, _, _ in CONVOLUTIONS:
            weight, bias = (weights()[f"features.{number}.{kind}"].double() for kind in ("weight", "bias"))
            if number in POOLED_BEFORE:
                x, y = F.max_pool2d(x, 2), F.max_pool2d(y, 2)
            x, y = (F.conv2d(t, weight, bias, padding=1).relu() for t in (x, y))
            if number in TAPPED_AFTER:
                difference = (F.normalize(x, dim=1) - F.normalize(y, dim=1)) ** 2
                distance += float(torch.einsum("bchw,c->bhw", difference, linear[f"lin{tap}"].double().flatten()).mean())
                tap += 1
        found.append(distance)
    return torch.tensor(found)


def test_shipped_linear_weights() -> None:
    linear = load_file(LINEAR)
    assert [linear[f"lin{i}"].numel() for i in range(5)] == [64, 128, 256, 512, 512]
    assert all(float(t.min()) >= 0 for t in linear.values())
    assert all(float(t.max()) > 0 for t in linear.values())
    assert LINEAR.with_suffix(".md").is_file()


def test_taps_are_after_the_last_relu_of_each_stage(network: LPIPS) -> None:
    assert network.taps == TAPS
    assert all(isinstance(network.features[i], nn.ReLU) for i in TAPS)
    assert all(isinstance(network.features[i + 1], nn.MaxPool2d) for i in TAPS[:-1])
    assert [i for i, layer in enumerate(network.features) if isinstance(layer, nn.Conv2d)] == [n for n, _, _ in CONVOLUTIONS]
    assert not network.training


@pytest.mark.parametrize(("height", "width"), [(32, 32), (16, 24), (35, 49)])
def test_lpips_follows_the_paper(network: LPIPS, height: int, width: int) -> None:
    x, y = images(1, height, width), images(2, height, width)
    with torch.no_grad():
        found = network(x, y)
    assert float(found.min()) > 0.01
    torch.testing.assert_close(found, expected_distances(x, y).float(), rtol=1e-4, atol=1e-6)


def test_lpips_equals_torchmetrics(network: LPIPS, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchmetrics gets the same random backbone instead of torchvision's, and keeps its own linear weights."""
    theirs = pytest.importorskip("torchmetrics.functional.image.lpips", reason="torchmetrics' LPIPS is not installed")
    monkeypatch.setattr(theirs, "_get_tv_model_features", lambda *_args, **_options: network.features)
    other = theirs._LPIPS(pretrained=True, net="vgg")
    x, y = images(3), images(4)
    with torch.no_grad():
        expected = other(x.permute(0, 3, 1, 2), y.permute(0, 3, 1, 2), normalize=True).flatten()
        torch.testing.assert_close(network(x, y), expected, rtol=1e-4, atol=1e-6)


def test_distance_is_zero_for_equal_images_and_grows_with_noise(network: LPIPS) -> None:
    x, noise = images(6) * 0.5 + 0.25, images(7) - 0.5
    assert mean_lpips(network, x, x) == 0
    distances = [mean_lpips(network, x + level * noise, x) for level in (0.05, 0.1, 0.3)]
    assert 0 < distances[0] < distances[1] < distances[2]


def test_images_are_clipped_and_the_distance_is_symmetric(network: LPIPS) -> None:
    x, y = images(8) * 2 - 0.5, images(9)
    assert mean_lpips(network, x, y) == pytest.approx(mean_lpips(network, x.clamp(0, 1), y), rel=1e-6)
    assert mean_lpips(network, x, y) == pytest.approx(mean_lpips(network, y, x), rel=1e-5)


def test_mean_does_not_depend_on_the_batch_size(network: LPIPS, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = images(10, 16, 16, frames=5), images(11, 16, 16, frames=5)
    y[3] = x[3]
    with torch.no_grad():
        each = network(x, y)
    assert float(each[3]) == 0
    for batch in (1, 2, 8):
        monkeypatch.setattr(lpips, "BATCH", batch)
        assert mean_lpips(network, x, y) == pytest.approx(float(each.mean()), rel=1e-5)


def test_half_precision_weights_load(file: Path, network: LPIPS, tmp_path: Path) -> None:
    save_file({name: t.half() for name, t in weights().items()}, tmp_path / "half.safetensors")
    half = load_lpips(str(tmp_path / "half.safetensors"))
    assert all(p.dtype == torch.float32 for p in half.parameters())
    x, y = images(12), images(13)
    assert mean_lpips(half, x, y) == pytest.approx(mean_lpips(network, x, y), rel=1e-3)


def test_weights_come_from_the_hub_by_default(file: Path, network: LPIPS, monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[tuple[HubFile, str]] = []

    def fetch(source: HubFile, licence: str) -> Path:
        requests.append((source, licence))
        return file

    monkeypatch.setattr(lpips, "fetch", fetch)
    found = load_lpips()
    assert requests == [(HubFile("timm/vgg16.tv_in1k", "model.safetensors"), "BSD-3-Clause")]
    x, y = images(14), images(15)
    assert mean_lpips(found, x, y) == mean_lpips(network, x, y)


def test_unreachable_weights_raise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    no_network(monkeypatch, tmp_path)
    with pytest.raises(UnavailableError, match=r"^timm/vgg16\.tv_in1k/model\.safetensors is not on this machine"):
        load_lpips()
