"""ImageDream's multi-view U-Net, held against outputs of the public code (a tiny network with random weights)."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from chronosplat.models.imagedream import ImageDreamConfig, ImageDreamUNet
from chronosplat.models import from_imagedream, to_imagedream
from chronosplat.shapes import InputError
from tests.golden.test_l4gm import GOLDEN, needs_golden

pytestmark = needs_golden
ARGUMENTS = ("latents", "timesteps", "text_context", "camera", "image_tokens", "image_latents")


def golden() -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any], int]:
    """Weights under the released names, inputs and output, config, and pictures per object."""
    with safe_open(GOLDEN / "imagedream_unet_tiny.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
        config, views = json.loads(file.metadata()["config"]), int(file.metadata()["num_views"])
    weights = {key.removeprefix("weights."): t for key, t in tensors.items() if key.startswith("weights.")}
    return weights, {key: t for key, t in tensors.items() if not key.startswith("weights.")}, config, views


def test_noise_is_reproduced() -> None:
    weights, tensors, config, views = golden()
    with torch.no_grad():
        found = from_imagedream(weights, config)(*(tensors[f"input.{name}"] for name in ARGUMENTS), views)
    assert float((found - tensors["output.noise"]).abs().max()) < 1e-4
    assert float(tensors["output.noise"].abs().max()) > 1


def test_weights_survive_the_way_there_and_back() -> None:
    weights, _, config, _ = golden()
    back = to_imagedream(from_imagedream(weights, config))
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[key], t) for key, t in weights.items())


def test_full_size_has_the_released_names_and_shapes() -> None:
    released = json.loads((GOLDEN / "imagedream_unet_state_dict.json").read_text())
    with torch.device("meta"):
        model = ImageDreamUNet(ImageDreamConfig())
    assert {key: list(t.shape) for key, t in model.state_dict().items()} == released
    assert sum(t.numel() for t in model.parameters()) == pytest.approx(941.7e6, rel=1e-3)


def test_objects_do_not_see_each_other_and_views_do() -> None:
    weights, tensors, config, views = golden()
    model = from_imagedream(weights, config)
    given = [tensors[f"input.{name}"] for name in ARGUMENTS]
    other = given[0].clone()
    other[0] += 1  # a view of the first object
    with torch.no_grad():
        before, after = model(*given, views), model(other, *given[1:], views)
    assert torch.allclose(before[views:], after[views:], atol=1e-5)
    assert float((before[1] - after[1]).abs().max()) > 1e-3


def test_the_given_picture_takes_the_last_place() -> None:
    weights, tensors, config, views = golden()
    model = from_imagedream(weights, config)
    given = [tensors[f"input.{name}"] for name in ARGUMENTS]
    other = given[0].clone()
    other[views - 1 :: views] = 7.0
    with torch.no_grad():
        assert torch.equal(model(*given, views), model(other, *given[1:], views))
        without = model(*given[:4], views=views)  # text alone
    assert without.shape == given[0].shape


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("latents", lambda t: t[:7], "latents: expected a multiple of 5 pictures, got 7"),
        ("latents", lambda t: t[:, :3], r"latents: expected shape \[N, 4, H, W\]"),
        ("timesteps", lambda t: t[:4], r"timesteps: expected shape \[N=10\], got \[4\]"),
        ("text_context", lambda t: t[..., :5], r"text: expected shape \[N=10, L, 32\]"),
        ("camera", lambda t: t[:, :12], r"cameras: expected shape \[N=10, 16\]"),
        ("image_tokens", lambda t: t[..., :99], r"image_tokens: expected shape \[N=10, M, 1280\]"),
        ("image_latents", lambda t: t[:1], r"image_latents: expected shape \[2, 4"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(name: str, change: Any, message: str) -> None:
    weights, tensors, config, views = golden()
    given = {key: tensors[f"input.{key}"] for key in ARGUMENTS}
    given[name] = change(given[name])
    with pytest.raises(InputError, match=message):
        from_imagedream(weights, config)(*given.values(), views)


def test_other_architectures_are_named() -> None:
    weights, _, config, _ = golden()
    with pytest.raises(InputError, match=r"input_blocks\.1\.1\..*missing"):
        from_imagedream({key: t for key, t in weights.items() if "input_blocks.1.1" not in key}, config)
