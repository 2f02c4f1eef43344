"""Golden files: tiny networks of the released architectures with their inputs and outputs (``data/README.md``)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Golden:
    """One golden file.

    Attributes:
        weights: under the released names, float16.
        tensors: ``input.*`` and ``output.*``.
        config: the options of the released code.
        metadata: strings.
    """

    weights: dict[str, Tensor]
    tensors: dict[str, Tensor]
    config: dict[str, Any]
    metadata: dict[str, str]


@cache
def read_golden(name: str) -> Golden:
    """The file ``data/{name}.safetensors``. Its tensors are shared between tests: clone before writing."""
    with safe_open(DATA / f"{name}.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
        metadata = file.metadata()
    weights = {key.removeprefix("weights."): t for key, t in tensors.items() if key.startswith("weights.")}
    rest = {key: t for key, t in tensors.items() if not key.startswith("weights.")}
    return Golden(weights, rest, json.loads(metadata["config"]), metadata)


def odd_weights(golden: Golden) -> dict[str, Tensor]:
    """The file's weights as float32 values that float16 cannot hold, so that a detour through it shows."""
    return {name: t.float() / 3 for name, t in golden.weights.items()}


def released_shapes(name: str) -> dict[str, list[int]]:
    """Parameter names and shapes of a full-size released network."""
    return json.loads((DATA / f"{name}_state_dict.json").read_text())
