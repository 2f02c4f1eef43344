"""Weight adapters for the public ImageDream code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from torch import Tensor

from chronosplat.models.imagedream.network import ImageDreamConfig, ImageDreamUNet
from chronosplat.models.weights import build_uninitialised, fill


def from_imagedream(state_dict: Mapping[str, Tensor], config: Mapping[str, Any]) -> ImageDreamUNet:
    """Build the multi-view U-Net from a checkpoint of the public ImageDream code, in evaluation mode.

    Args:
        state_dict: names and tensors as released.
        config: the public code's arguments. Those of ImageDreamConfig are used, any may be absent; ``ip_dim`` and ``image_width``
            come from the checkpoint.

    Raises:
        InputError: names or shapes that do not fit.
    """
    known = {field.name for field in fields(ImageDreamConfig)}
    sizes: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in config.items() if name in known}
    tokens, width = state_dict.get("image_embed.latents"), state_dict.get("image_embed.proj_in.weight")
    sizes["ip_dim"] = 0 if tokens is None else tokens.shape[1]
    if width is not None:
        sizes["image_width"] = width.shape[1]
    model = build_uninitialised(lambda: ImageDreamUNet(ImageDreamConfig(**sizes)))
    fill(model, state_dict, "checkpoint")
    return model.eval()


def to_imagedream(model: ImageDreamUNet) -> dict[str, Tensor]:
    """Return the weights under the names of the public ImageDream code."""
    return dict(model.state_dict())
