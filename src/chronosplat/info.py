"""What is installed, and what is in a file."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import torch

import chronosplat
from chronosplat.captures import load_capture
from chronosplat.gaussians import Gaussians3D, load_scene
from chronosplat.models.presets import PRESETS
from chronosplat.models.weights import read_weights
from chronosplat.render import cpu, gsplat
from chronosplat.shapes import InputError, UnavailableError

ISA = {4: "AVX-512", 3: "AVX2", 2: "SSE4", 1: platform.machine()}


def describe_installation() -> dict[str, Any]:
    """Version, devices, renderers and models."""
    try:
        native = f"ready ({ISA[cpu.isa_level()]}, {torch.get_num_threads()} threads)"
    except UnavailableError as error:
        native = str(error)
    return {
        "version": chronosplat.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "renderer cpu": native,
        "renderer gsplat": gsplat.unavailable() or "ready",
        **{f"model {name}": preset.about for name, preset in PRESETS.items()},
    }


def describe_file(path: str) -> dict[str, Any]:
    """The facts of a scene, a weights file, or a capture.

    Raises:
        InputError: none of them.
    """
    if Path(path).suffix == ".safetensors":
        tensors, metadata = read_weights(Path(path))
        if "chronosplat_schema" not in metadata:
            return {"kind": "weights", "parameters": sum(t.numel() for t in tensors.values()), **metadata}
        scene = load_scene(path)
        low, high = scene.means.reshape(-1, 3).aminmax(dim=0)
        facts = {"kind": type(scene).__name__, "gaussians": scene.means.shape[-2], "schema": metadata["chronosplat_schema"]}
        facts |= {"least": low.tolist(), "most": high.tolist(), "scale to the capture": scene.world.scale}
        return facts if isinstance(scene, Gaussians3D) else facts | {"seconds": list(scene.seconds)}
    if not Path(path).exists():
        raise InputError(f"{path}: no such file")
    views = load_capture(path)
    return {
        "kind": "capture",
        "frames": len(views),
        "size": f"{views.cameras.width}x{views.cameras.height}",
        "seconds": list(views.seconds),
        "notes": list(views.notes),
    }
