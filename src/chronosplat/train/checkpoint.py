"""Training checkpoints: weights, EMA, AdamW's moments, step and config in one safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from chronosplat.files import write_tensors
from chronosplat.shapes import InputError

MOMENTS = ("exp_avg", "exp_avg_sq")


def save_state(
    path: Path, model: nn.Module, optimizer: torch.optim.AdamW, ema: dict[str, Tensor], step: int, config: Mapping[str, Any]
) -> None:
    """Write a checkpoint by atomic rename."""
    tensors: dict[str, Tensor] = {}
    for name, p in model.named_parameters():
        tensors[f"model.{name}"], tensors[f"ema.{name}"] = p, ema[name]
        for moment in MOMENTS:
            if moment in optimizer.state.get(p, {}):
                tensors[f"{moment}.{name}"] = optimizer.state[p][moment]
    write_tensors(tensors, path, {"step": str(step), "config": json.dumps(config)})


def load_state(path: Path, model: nn.Module, optimizer: torch.optim.AdamW, ema: dict[str, Tensor]) -> int:
    """Restore a checkpoint and return its step.

    Raises:
        InputError: a checkpoint of another model.
    """
    with safe_open(path, framework="pt") as file:
        step, names = int(file.metadata()["step"]), set(file.keys())
        shapes = {f"model.{name}": list(p.shape) for name, p in model.named_parameters()}
        problems = [f"{name} is missing" for name in sorted(shapes.keys() - names)] or [
            f"{name} is {found}, expected {shape}" for name, shape in shapes.items() if (found := file.get_slice(name).get_shape()) != shape
        ]
        if problems:  # before anything is overwritten
            raise InputError(f"{path}: a checkpoint of another model ({problems[0]}); choose another folder")
        with torch.no_grad():
            for name, p in model.named_parameters():
                p.copy_(file.get_tensor(f"model.{name}"))
                ema[name].copy_(file.get_tensor(f"ema.{name}"))
                if f"{MOMENTS[0]}.{name}" in names:
                    moments = {m: file.get_tensor(f"{m}.{name}").to(p.device) for m in MOMENTS}
                    optimizer.state[p] = {"step": torch.tensor(float(step)), **moments}
    return step


def changed(path: Path, config: Mapping[str, Any]) -> list[str]:
    """List the settings that differ between a checkpoint and ``config``, as ``name: old -> new``."""
    with safe_open(path, framework="pt") as file:
        before = json.loads(file.metadata().get("config", "null"))
    now = json.loads(json.dumps(config))
    return [] if before is None else _differences(before, now)


def _differences(before: Any, now: Any, name: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        inner = (_differences(before.get(key), now.get(key), f"{name}.{key}" if name else key) for key in sorted({*before, *now}))
        return [line for lines in inner for line in lines]
    return [] if before == now else [f"{name}: {before} -> {now}"]
