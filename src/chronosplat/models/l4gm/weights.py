"""Weights of L4GM and LGM, and adapters for the public code's names."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chronosplat.models.l4gm.config import L4GMConfig, UNetConfig
from chronosplat.models.l4gm.network import L4GM
from chronosplat.models.weights import build_uninitialised, check_names, fill, read_weights

log = logging.getLogger("chronosplat")
TEMPORAL, LOSS = ".t_attns.", "lpips_loss."  # in names of parameters that LGM lacks; prefix of tensors that are not parameters
LEVELS = ("down_channels", "down_attention", "up_channels", "up_attention")
# the public code's names -> ours
OPTIONS = {
    "input_size": "input_size", "splat_size": "splat_size", "num_frames": "frames", "num_input_views": "views", "fovy": "fovy",
    "cam_radius": "radius",
}  # fmt: skip


def load_l4gm(config: L4GMConfig, path: Path | None) -> L4GM:
    """Build a network with a file's weights; None initialises at random.

    A ``config`` in the file's metadata replaces the argument. LGM's weights initialise an L4GM for training: the temporal
    attention, which they lack, is initialised at random and logged.

    Raises:
        InputError: not a safetensors file, or weights of another architecture.
    """
    if path is None:
        return L4GM(config)
    tensors, config = read_l4gm_file(config, path)
    if any(TEMPORAL in name for name in tensors):
        model = build_uninitialised(lambda: L4GM(config))
        fill(model, tensors, str(path))
        return model
    model = L4GM(config)
    if fresh := fill(model, tensors, str(path), TEMPORAL):
        log.warning("%s: %d parameters are new and start at random: %s", path, len(fresh), ", ".join(fresh))
    return model


def read_l4gm_file(config: L4GMConfig, path: Path) -> tuple[dict[str, Tensor], L4GMConfig]:
    """Read the network's tensors and its config (the file's own, else ``config``)."""
    tensors, metadata = read_weights(path)
    return _parameters(tensors), l4gm_config(json.loads(metadata["config"])) if "config" in metadata else config


def check_l4gm_file(config: L4GMConfig, path: Path) -> L4GMConfig:
    """Check a file's tensors without loading the network, and return its config (the file's own, else ``config``).

    Raises:
        InputError: not a safetensors file, or weights of another architecture.
    """
    tensors, config = read_l4gm_file(config, path)
    with torch.device("meta"):
        model = L4GM(config)
    check_names(model, tensors, str(path))
    return config


def from_l4gm(state_dict: Mapping[str, Tensor], config: Mapping[str, Any]) -> L4GM:
    """Build a network from a checkpoint of the public L4GM or LGM code, in evaluation mode.

    Args:
        state_dict: names and tensors as released. Perceptual-loss weights (``lpips_loss.*``) are dropped.
        config: the public code's options: input_size, splat_size, num_frames, num_input_views, down_channels,
            down_attention, mid_attention, up_channels, up_attention, use_temp_attn, fovy, cam_radius, gaussian_perpixel; any may
            be absent.

    Raises:
        InputError: names or shapes that do not fit.
    """
    model = build_uninitialised(lambda: L4GM(l4gm_config(config)))
    fill(model, _parameters(state_dict), "checkpoint")
    return model.eval()


def to_l4gm(model: L4GM) -> dict[str, Tensor]:
    """Return the weights under the names of the public L4GM code, contiguous for safetensors."""
    return {name: t.contiguous() for name, t in model.state_dict().items()}


def l4gm_config(options: Mapping[str, Any]) -> L4GMConfig:
    """Convert the public L4GM code's options, or the JSON form of :func:`save_weights`; absent ones take the released values."""
    if "unet" in options:
        sizes: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in options["unet"].items()}
        return L4GMConfig(**{**options, "unet": UNetConfig(**sizes)})
    default = UNetConfig()
    levels: dict[str, Any] = {name: tuple(options[name]) for name in LEVELS if name in options}
    unet = UNetConfig(
        **levels,
        mid_attention=options.get("mid_attention", default.mid_attention),
        temporal=options.get("use_temp_attn", default.temporal),
        out_channels=default.out_channels * options.get("gaussian_perpixel", 1),
    )
    return L4GMConfig(unet, **{ours: options[theirs] for theirs, ours in OPTIONS.items() if theirs in options})


def _parameters(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: t for name, t in tensors.items() if not name.startswith(LOSS)}
