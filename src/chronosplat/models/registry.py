"""The registry of models: a new model is one package that defines a ModelSpec, and one line here or a call of register_model."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from chronosplat.models.hub import fetch
from chronosplat.models.l4gm.specs import SPECS as L4GM_SPECS
from chronosplat.models.lrm4d.specs import SPECS as LRM4D_SPECS
from chronosplat.models.spec import ModelSpec
from chronosplat.shapes import InputError

MODELS: dict[str, ModelSpec] = {}


def register_model(spec: ModelSpec) -> None:
    """Register a model for ``load_model``, the command line and the evaluation."""
    MODELS[spec.name] = spec


for _spec in (*LRM4D_SPECS, *L4GM_SPECS):
    register_model(_spec)


def find_model(name: str) -> ModelSpec:
    """Return a model's specification.

    Raises:
        InputError: unknown name; suggests the closest ones.
    """
    if name in MODELS:
        return MODELS[name]
    close = difflib.get_close_matches(name, MODELS, n=3, cutoff=0.3)
    hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(MODELS)}"
    raise InputError(f"unknown model {name!r}; {hint}")


def find_weights(name: str, weights: str | Path | None = None) -> Path | None:
    """Return a model's weights file, downloaded if published; None for a model that needs none.

    Args:
        weights: a file instead of the model's own.

    Raises:
        InputError: unknown name, no such file, or weights that were never published.
        UnavailableError: neither cached nor downloadable.
    """
    spec = find_model(name)
    if weights is not None:
        if not Path(weights).is_file():
            raise InputError(f"{weights}: no such weights file")
        return Path(weights)
    if spec.hub is not None:
        return fetch(spec.hub, spec.licence)
    if spec.weights is None and spec.needs_weights:
        raise InputError(f"{name}: {spec.about}")
    return spec.weights


def load_model(name: str, weights: str | Path | None = None, device: str = "cpu", pretrained: bool = True) -> Any:
    """Load a model by name, in evaluation mode, float32: an ``LRM4D``, an ``L4GM``, or what a registered model builds.

    Published weights are downloaded once, after a notice of their size and licence; later calls work offline.

    Args:
        weights: a safetensors file instead of the model's own weights.
        pretrained: False initialises at random.

    Raises:
        InputError: unknown name, no published weights, or a file that does not fit the model.
        UnavailableError: weights neither cached nor downloadable.
    """
    spec = find_model(name)
    return spec.load(spec.config, find_weights(name, weights) if pretrained else None).to(device).eval()
