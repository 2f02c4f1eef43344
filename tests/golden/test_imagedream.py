"""ImageDream's multi-view U-Net, compared with outputs of the public code (``data/README.md``)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from chronosplat.models import from_imagedream, to_imagedream
from chronosplat.models.imagedream import ImageDreamConfig, ImageDreamUNet
from chronosplat.shapes import InputError
from tests.golden.kit import odd_weights, read_golden, released_shapes

NAMES = ("imagedream_unet_tiny", "imagedream_unet_embeddings")
ARGUMENTS = ("latents", "timesteps", "text_context", "camera", "image_tokens", "image_latents")


def network(name: str = "imagedream_unet_embeddings") -> tuple[ImageDreamUNet, dict[str, Tensor], int]:
    """A golden network, its inputs by argument, and images per object."""
    golden = read_golden(name)
    given = {argument: golden.tensors[f"input.{argument}"] for argument in ARGUMENTS}
    return from_imagedream(golden.weights, golden.config), given, int(golden.metadata["num_views"])


@pytest.mark.parametrize("name", NAMES)
def test_noise_is_reproduced(name: str) -> None:
    model, given, views = network(name)
    with torch.no_grad():
        found = model(*given.values(), views)
    expected = read_golden(name).tensors["output.noise"]  # 2.5 and 3.2 at most; 5e-6 apart as measured
    torch.testing.assert_close(found, expected, rtol=0, atol=5e-5)


@pytest.mark.parametrize("name", NAMES)
def test_weights_survive_the_way_there_and_back(name: str) -> None:
    golden = read_golden(name)
    weights = odd_weights(golden)
    back = to_imagedream(from_imagedream(weights, golden.config))
    assert back.keys() == weights.keys()
    for key, tensor in weights.items():
        torch.testing.assert_close(back[key], tensor, rtol=0, atol=0)


def test_full_size_has_the_released_names_and_shapes() -> None:
    with torch.device("meta"):
        model = ImageDreamUNet(ImageDreamConfig())
    assert {key: list(t.shape) for key, t in model.state_dict().items()} == released_shapes("imagedream_unet")
    assert sum(t.numel() for t in model.parameters()) == pytest.approx(941.7e6, rel=1e-3)


def test_objects_do_not_see_each_other_and_views_do() -> None:
    model, given, views = network()
    other = given["latents"].clone()
    other[0] += 1  # a view of the first object
    with torch.no_grad():
        before, after = model(*given.values(), views), model(*(given | {"latents": other}).values(), views)
    assert torch.allclose(before[views:], after[views:], atol=1e-5)
    for view in range(1, views):
        assert float((before[view] - after[view]).abs().max()) > 1e-3


def test_the_given_image_takes_the_last_place() -> None:
    model, given, views = network()
    other = given["latents"].clone()
    other[views - 1 :: views] = 7.0
    with torch.no_grad():
        assert torch.equal(model(*given.values(), views), model(*(given | {"latents": other}).values(), views))
        # text alone: the last latents are those of a view like any other
        rest = [given[name] for name in ARGUMENTS[1:4]]
        plain, changed = model(given["latents"], *rest, views=views), model(other, *rest, views=views)
    assert plain.shape == given["latents"].shape
    assert float((plain[0] - changed[0]).abs().max()) > 1e-3


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("latents", lambda t: t[:7], "latents: expected a multiple of 5 views, got 7"),
        ("latents", lambda t: t[:, :3], r"latents: expected shape \[N, 4, H, W\]"),
        ("timesteps", lambda t: t[:4], r"timesteps: expected shape \[N=10\], got \[4\]"),
        ("text_context", lambda t: t[..., :5], r"text: expected shape \[N=10, L, 8\]"),
        ("camera", lambda t: t[:, :12], r"cameras: expected shape \[N=10, 16\]"),
        ("image_tokens", lambda t: t[..., :99], r"image_tokens: expected shape \[N=10, M, 1280\]"),
        ("image_latents", lambda t: t[:1], r"image_latents: expected shape \[2, 4"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(name: str, change: Any, message: str) -> None:
    model, given, views = network("imagedream_unet_tiny")
    with pytest.raises(InputError, match=message):
        model(*(given | {name: change(given[name])}).values(), views)


def test_other_architectures_are_named() -> None:
    golden = read_golden("imagedream_unet_tiny")
    with pytest.raises(InputError, match=r"input_blocks\.1\.1\..*missing"):
        from_imagedream({key: t for key, t in golden.weights.items() if "input_blocks.1.1" not in key}, golden.config)
