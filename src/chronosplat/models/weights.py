"""Weights in and out: safetensors only, strict in both directions."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from chronosplat.files import write_tensors
from chronosplat.models.hub import fetch
from chronosplat.models.imagedream import ImageDreamConfig, ImageDreamUNet
from chronosplat.models.l4gm import L4GM, L4GMConfig
from chronosplat.models.lrm4d import LRM4D, LRM4DConfig, config_from_dict
from chronosplat.models.presets import find_preset
from chronosplat.models.unet import UNetConfig
from chronosplat.shapes import InputError

log = logging.getLogger("chronosplat")
SHIPPED = Path(__file__).parent / "shipped"
Model = TypeVar("Model", bound=nn.Module)
TEMPORAL, LOSS = ".t_attns.", "lpips_loss."  # in the names of L4GM's parameters that LGM lacks; of what is no parameter


@overload
def load_model(
    name: Literal["4d-lrm-mini", "4d-lrm-base", "4d-lrm-large"], weights: str | Path | None = ..., device: str = ..., pretrained: bool = ...
) -> LRM4D: ...
@overload
def load_model(
    name: Literal["l4gm", "l4gm-interp", "lgm"], weights: str | Path | None = ..., device: str = ..., pretrained: bool = ...
) -> L4GM: ...
@overload
def load_model(name: str, weights: str | Path | None = ..., device: str = ..., pretrained: bool = ...) -> LRM4D | L4GM: ...
def load_model(name: str, weights: str | Path | None = None, device: str = "cpu", pretrained: bool = True) -> LRM4D | L4GM:
    """A model by its preset's name, in evaluation mode, float32.

    ``l4gm``, ``l4gm-interp`` and ``lgm`` download their published weights once, after saying how large they are and under
    which licence, and work offline afterwards.

    Args:
        weights: a safetensors file instead of the preset's own weights. A file of L4GM's kind may carry a ``config`` of its own
            in its metadata (sizes as :func:`save_weights` or the public code writes them). LGM's weights start an L4GM for training: its
            temporal attention, which they lack, starts fresh, and every such parameter is logged.
        pretrained: False gives fresh random weights.

    Raises:
        InputError: an unknown name (with the close matches), no weights to be had, or a file that does not fit.
        UnavailableError: weights that are neither here nor downloadable.
    """
    config = find_preset(name).config
    tensors: dict[str, Tensor] = {}
    path = Path()
    if pretrained:
        path = find_weights(name, weights)
        tensors, metadata = read_weights(path)
        tensors = {key: t for key, t in tensors.items() if not key.startswith(LOSS)}
        if isinstance(config, L4GMConfig) and "config" in metadata:
            config = l4gm_config(json.loads(metadata["config"]))
    from_lgm = isinstance(config, L4GMConfig) and not any(TEMPORAL in key for key in tensors)
    if isinstance(config, LRM4DConfig):
        model: LRM4D | L4GM = LRM4D(config)
    else:
        model = L4GM(config) if from_lgm else hollow(lambda: L4GM(config))
    if pretrained:
        fresh = fill(model, tensors, str(path), TEMPORAL if from_lgm else None)
        if fresh:
            log.warning("%s: %d parameters are new and start fresh: %s", path, len(fresh), ", ".join(fresh))
    return model.to(device).eval()


def find_weights(name: str, weights: str | Path | None = None) -> Path:
    """The weights file of a preset, downloaded if it is one of those that others published.

    Args:
        weights: a file instead of the preset's own.

    Raises:
        InputError: an unknown name, no such file, or a preset without weights.
        UnavailableError: a file that is neither here nor downloadable.
    """
    preset = find_preset(name)
    if weights is not None:
        if not Path(weights).is_file():
            raise InputError(f"{weights}: no such weights file")
        return Path(weights)
    if preset.hub is not None:
        return fetch(preset.hub, preset.licence)
    if not preset.weights:
        raise InputError(f"{name}: {preset.about}")
    return SHIPPED / preset.weights


def check_l4gm_file(name: str, path: Path) -> L4GMConfig:
    """The sizes of the network in a weights file (its own, if it says them, else the preset's), without loading it.

    Raises:
        InputError: not a safetensors file, weights of another architecture, or the preset of another kind of model.
    """
    config = find_preset(name).config
    if not isinstance(config, L4GMConfig):
        raise InputError(f"{name}: expected a model of L4GM's kind")
    tensors, metadata = read_weights(path)
    if "config" in metadata:
        config = l4gm_config(json.loads(metadata["config"]))
    with torch.device("meta"):
        model = L4GM(config)
    check_names(model, {key: t for key, t in tensors.items() if not key.startswith(LOSS)}, str(path))
    return config


def model_from_file(path: str | Path) -> LRM4D:
    """A model from a weights file that carries its own config."""
    tensors, metadata = read_weights(Path(path))
    if "config" not in metadata:
        raise InputError(f"{path}: carries no model config; load it with load_model(name, weights=...)")
    model = LRM4D(config_from_dict(json.loads(metadata["config"])))
    fill(model, tensors, str(path))
    return model.eval()


def save_weights(
    config: LRM4DConfig | L4GMConfig, preset: str, tensors: dict[str, Tensor], path: Path, notes: dict[str, str] | None = None
) -> None:
    """Write weights as fp16 with their config, by atomic rename."""
    half = {name: t.half() for name, t in tensors.items()}
    write_tensors(half, path, {**(notes or {}), "config": json.dumps(asdict(config)), "preset": preset, "format": "pt"})


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a safetensors file.

    Raises:
        InputError: no such file, or not safetensors (pickles are refused, never loaded).
    """
    if not path.is_file():
        raise InputError(f"{path}: no such weights file")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError) as error:
        convert = (
            "import sys; from torch import load; from safetensors.torch import save_file; "
            "save_file(load(sys.argv[1], weights_only=True), sys.argv[2])"
        )
        raise InputError(
            f"{path}: not a safetensors file, or cut short ({error}); pickled checkpoints are not loaded, convert one where you "
            f"trust it: python -c '{convert}' {path.name} {path.stem}.safetensors"
        ) from error


def from_l4gm(state_dict: Mapping[str, Tensor], config: Mapping[str, Any]) -> L4GM:
    """A network from a checkpoint of the public L4GM or LGM code, in evaluation mode.

    Args:
        state_dict: names and tensors as released. Perceptual-loss weights (``lpips_loss.*``) are left out.
        config: the public code's options: input_size, splat_size, num_frames, num_input_views, down_channels,
            down_attention, mid_attention, up_channels, up_attention, use_temp_attn, fovy, cam_radius; any may be absent.

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


def from_imagedream(state_dict: Mapping[str, Tensor], config: Mapping[str, Any]) -> ImageDreamUNet:
    """The multi-view U-Net from a checkpoint of the public ImageDream code, in evaluation mode.

    Args:
        state_dict: names and tensors as released.
        config: the public code's arguments; those of ImageDreamConfig count, any may be absent. Whether it takes images,
            and the width of their tokens, is read off the checkpoint.

    Raises:
        InputError: names or shapes that do not fit; the first that differ are named.
    """
    known = {field.name for field in fields(ImageDreamConfig)}
    sizes: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in config.items() if name in known}
    tokens, width = state_dict.get("image_embed.latents"), state_dict.get("image_embed.proj_in.weight")
    sizes["ip_dim"] = 0 if tokens is None else tokens.shape[1]
    if width is not None:
        sizes["image_width"] = width.shape[1]
    model = hollow(lambda: ImageDreamUNet(ImageDreamConfig(**sizes)))
    fill(model, state_dict, "checkpoint")
    return model.eval()


def to_imagedream(model: ImageDreamUNet) -> dict[str, Tensor]:
    """The weights under the names of the public ImageDream code."""
    return dict(model.state_dict())


def hollow(build: Callable[[], Model]) -> Model:
    """A network whose numbers are not drawn, since all of them will be replaced: half a billion take seconds."""
    with torch.device("meta"):
        model = build()
    return model.to_empty(device="cpu")


def fill(model: nn.Module, tensors: Mapping[str, Tensor], source: str, new: str | None = None) -> list[str]:
    """Copy weights into a model; every name and shape must match.

    Args:
        source: what to call the tensors in messages.
        new: parameters with this in their name may be missing and keep their fresh values.

    Returns:
        The names that kept their fresh values.

    Raises:
        InputError: other names or shapes; the first of each and their number are named.
    """
    fresh = check_names(model, tensors, source, new)
    own = model.state_dict()
    for name, tensor in tensors.items():  # one by one: no second copy of the whole
        own[name].copy_(tensor)
    return fresh


def check_names(model: nn.Module, tensors: Mapping[str, Tensor], source: str, new: str | None = None) -> list[str]:
    """Compare names and shapes of weights with a model's; see :func:`fill`."""
    wanted = {name: tuple(p.shape) for name, p in model.state_dict().items()}
    missing, extra = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    fresh = [name for name in missing if new is not None and new in name]
    missing = [name for name in missing if name not in set(fresh)]
    if missing or extra:
        first = [f"lacks {name}" for name in missing[:1]] + [f"has {name} too many" for name in extra[:1]]
        counts = f"{len(missing)} missing, {len(extra)} unexpected in all"
        raise InputError(f"{source}: weights of another architecture ({' and '.join(first)}; {counts})")
    for name in wanted.keys() & tensors.keys():
        if tuple(tensors[name].shape) != wanted[name]:
            raise InputError(f"{source}: {name} has shape {list(tensors[name].shape)}, the model wants {list(wanted[name])}")
    return fresh
