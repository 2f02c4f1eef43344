"""Weights files: safetensors only, loaded strictly."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from chronosplat.files import write_tensors
from chronosplat.shapes import InputError

Model = TypeVar("Model", bound=nn.Module)


def save_weights(
    config: Mapping[str, Any], preset: str, tensors: dict[str, Tensor], path: Path, notes: dict[str, str] | None = None
) -> None:
    """Write weights as fp16 with their config (JSON form), by atomic rename."""
    half = {name: t.half() for name, t in tensors.items()}
    write_tensors(half, path, {**(notes or {}), "config": json.dumps(config), "preset": preset, "format": "pt"})


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors and metadata of a safetensors file.

    Raises:
        InputError: no such file, or not safetensors (pickles are never loaded).
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
            f"{path}: not a safetensors file, or truncated ({error}); pickled checkpoints are not loaded, convert one where you "
            f"trust it: python -c '{convert}' {path.name} {path.stem}.safetensors"
        ) from error


def build_uninitialised(build: Callable[[], Model]) -> Model:
    """Build a network without initialising its weights, for a strict load: half a billion random numbers take seconds."""
    with torch.device("meta"):
        model = build()
    return model.to_empty(device="cpu")


def fill(model: nn.Module, tensors: Mapping[str, Tensor], source: str, new: str | None = None) -> list[str]:
    """Copy weights into a model; every name and shape must match.

    Args:
        source: name of the weights in messages.
        new: parameters with this in their name may be missing and keep their initial values.

    Returns:
        The names of the missing parameters.

    Raises:
        InputError: other names or shapes; names the first of each and their number.
    """
    missing = check_names(model, tensors, source, new)
    own = model.state_dict()
    for name, tensor in tensors.items():  # one by one: no second copy of the whole
        own[name].copy_(tensor)
    return missing


def check_names(model: nn.Module, tensors: Mapping[str, Tensor], source: str, new: str | None = None) -> list[str]:
    """Compare names and shapes of weights with a model's; see :func:`fill`."""
    expected = {name: list(p.shape) for name, p in model.state_dict().items()}
    missing, extra = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    allowed = [name for name in missing if new is not None and new in name]
    missing = [name for name in missing if name not in set(allowed)]
    if missing or extra:
        first = [f"lacks {name}" for name in missing[:1]] + [f"has unexpected {name}" for name in extra[:1]]
        counts = f"{len(missing)} missing, {len(extra)} unexpected in all"
        raise InputError(f"{source}: weights of another architecture ({' and '.join(first)}; {counts})")
    for name, tensor in tensors.items():
        if list(tensor.shape) != expected[name]:
            raise InputError(f"{source}: {name} has shape {list(tensor.shape)}, expected {expected[name]}")
    return allowed
