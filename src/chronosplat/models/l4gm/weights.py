"""Weights of L4GM and LGM: loaded from files, and converted from and to the public code's names."""

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
from chronosplat.models.weights import check_names, fill, hollow, read_weights

log = logging.getLogger("chronosplat")
TEMPORAL, LOSS = ".t_attns.", "lpips_loss."  # in the names of parameters that LGM lacks; of tensors that are no parameters


def load_l4gm(config: L4GMConfig, path: Path | None) -> L4GM:
    """A network with the weights of a file, or with random ones.

    A file may carry a ``config`` of its own in its metadata, which is then used. LGM's weights initialise an L4GM for
    training: its temporal attention, which they lack, starts at random, and every such parameter is logged.

    Raises:
        InputError: not a safetensors file, or weights of another architecture.
    """
    if path is None:
        return L4GM(config)
    tensors, config = read_l4gm_file(config, path)
    if any(TEMPORAL in name for name in tensors):
        model = hollow(lambda: L4GM(config))
        fill(model, tensors, str(path))
        return model
    model = L4GM(config)
    fresh = fill(model, tensors, str(path), TEMPORAL)
    if fresh:
        log.warning("%s: %d parameters are new and start at random: %s", path, len(fresh), ", ".join(fresh))
    return model


def read_l4gm_file(config: L4GMConfig, path: Path) -> tuple[dict[str, Tensor], L4GMConfig]:
    """The network's tensors in a file, and the file's own config, else ``config``."""
    tensors, metadata = read_weights(path)
    tensors = {name: t for name, t in tensors.items() if not name.startswith(LOSS)}
    return tensors, l4gm_config(json.loads(metadata["config"])) if "config" in metadata else config


def check_l4gm_file(config: L4GMConfig, path: Path) -> L4GMConfig:
    """The config of the network in a file (its own, else ``config``), without loading it.

    Raises:
        InputError: not a safetensors file, or weights of another architecture.
    """
    tensors, config = read_l4gm_file(config, path)
    with torch.device("meta"):
        model = L4GM(config)
    check_names(model, tensors, str(path))
    return config


def from_l4gm(state_dict: Mapping[str, Tensor], config: Mapping[str, Any]) -> L4GM:
    """A network from a checkpoint of the public L4GM or LGM code, in evaluation mode.

    Args:
        state_dict: names and tensors as released. Perceptual-loss weights (``lpips_loss.*``) are left out.
        config: the public code's options: input_size, splat_size, num_frames, num_input_views, down_channels,
            down_attention, mid_attention, up_channels, up_attention, use_temp_attn, fovy, cam_radius, gaussian_perpixel; any may
            be absent.

    Raises:
        InputError: names or shapes that do not fit; the first that differ are named.
    """
    model = hollow(lambda: L4GM(l4gm_config(config)))
    fill(model, {name: t for name, t in state_dict.items() if not name.startswith(LOSS)}, "checkpoint")
    return model.eval()


def to_l4gm(model: L4GM) -> dict[str, Tensor]:
    """The weights under the names of the public L4GM code, contiguous, as files want them."""
    return {name: t.contiguous() for name, t in model.state_dict().items()}


def l4gm_config(options: Mapping[str, Any]) -> L4GMConfig:
    """The config that options of the public L4GM code mean; what they leave out is the released model's.

    Our own form, as :func:`save_weights` keeps it, is read too.
    """
    if "unet" in options:
        kept: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in options["unet"].items()}
        return L4GMConfig(**{**options, "unet": UNetConfig(**kept)})
    unet = UNetConfig()
    levels: dict[str, Any] = {
        name: tuple(options[name]) for name in ("down_channels", "down_attention", "up_channels", "up_attention") if name in options
    }
    unet = UNetConfig(
        **levels,
        mid_attention=options.get("mid_attention", unet.mid_attention),
        temporal=options.get("use_temp_attn", unet.temporal),
        out_channels=unet.out_channels * options.get("gaussian_perpixel", 1),
    )
    names = {
        "input_size": "input_size",
        "splat_size": "splat_size",
        "num_frames": "frames",
        "num_input_views": "views",
        "fovy": "fovy",
        "cam_radius": "radius",
    }
    return L4GMConfig(unet, **{ours: options[theirs] for theirs, ours in names.items() if theirs in options})
