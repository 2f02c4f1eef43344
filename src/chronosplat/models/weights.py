"""Weights in and out: safetensors only, strict in both directions."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from chronosplat.files import write_tensors
from chronosplat.models.lrm4d import LRM4D, LRM4DConfig, config_from_dict
from chronosplat.models.presets import find_preset
from chronosplat.shapes import InputError

SHIPPED = Path(__file__).parent / "shipped"


def load_model(name: str, weights: str | Path | None = None, device: str = "cpu", pretrained: bool = True) -> LRM4D:
    """A model by its preset's name, in evaluation mode.

    Args:
        weights: a safetensors file instead of the preset's own weights.
        pretrained: False gives fresh random weights.

    Raises:
        InputError: an unknown name (with the close matches), no weights to be had, or a file that does not fit.
    """
    preset = find_preset(name)
    model = LRM4D(preset.config)
    if pretrained:
        if weights is None and not preset.weights:
            raise InputError(f"{name}: {preset.about}")
        _fill(model, Path(weights) if weights is not None else SHIPPED / preset.weights)
    return model.to(device).eval()


def model_from_file(path: str | Path) -> LRM4D:
    """A model from a weights file that carries its own config."""
    _, metadata = read_weights(Path(path))
    if "config" not in metadata:
        raise InputError(f"{path}: carries no model config; load it with load_model(name, weights=...)")
    model = LRM4D(config_from_dict(json.loads(metadata["config"])))
    _fill(model, Path(path))
    return model.eval()


def save_weights(config: LRM4DConfig, preset: str, tensors: dict[str, Tensor], path: Path, notes: dict[str, str] | None = None) -> None:
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
        raise InputError(f"{path}: not a safetensors file, or cut short ({error}); pickled checkpoints are not loaded") from error


def _fill(model: LRM4D, path: Path) -> None:
    """Copy weights into a model; every name and shape must match."""
    tensors, _ = read_weights(path)
    wanted = {name: tuple(p.shape) for name, p in model.state_dict().items()}
    missing, extra = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    if missing or extra:
        what = f"lacks {missing[0]}" if missing else f"has {extra[0]} too many"
        raise InputError(f"{path}: weights of another architecture ({what}; {len(missing)} missing, {len(extra)} unexpected in all)")
    for name, shape in wanted.items():
        if tuple(tensors[name].shape) != shape:
            raise InputError(f"{path}: {name} has shape {list(tensors[name].shape)}, the model wants {list(shape)}")
    model.load_state_dict({name: t.to(torch.float32) for name, t in tensors.items()})
