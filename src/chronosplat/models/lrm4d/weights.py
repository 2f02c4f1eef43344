"""Weights of 4D-LRMs."""

from __future__ import annotations

import json
from pathlib import Path

from chronosplat.models.lrm4d.config import LRM4DConfig, config_from_dict
from chronosplat.models.lrm4d.network import LRM4D
from chronosplat.models.weights import fill, read_weights
from chronosplat.shapes import InputError


def load_lrm4d(config: LRM4DConfig, path: Path | None) -> LRM4D:
    """Build a network with a file's weights; None initialises at random.

    Raises:
        InputError: not a safetensors file, or weights of another architecture.
    """
    model = LRM4D(config)
    if path is not None:
        fill(model, read_weights(path)[0], str(path))
    return model


def model_from_file(path: str | Path) -> LRM4D:
    """Load a model from a weights file that carries its config, in evaluation mode.

    Raises:
        InputError: no config, not a safetensors file, or weights of another architecture.
    """
    tensors, metadata = read_weights(Path(path))
    if "config" not in metadata:
        raise InputError(f"{path}: carries no model config; load it with load_model(name, weights=...)")
    model = LRM4D(config_from_dict(json.loads(metadata["config"])))
    fill(model, tensors, str(path))
    return model.eval()
