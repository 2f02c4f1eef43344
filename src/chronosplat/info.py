"""What is installed, and what is in a file."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import torch

import chronosplat
from chronosplat.captures import load_capture
from chronosplat.edit import history
from chronosplat.export import formats, load_scene
from chronosplat.models import MODELS
from chronosplat.models.weights import read_weights
from chronosplat.render import cpu, gsplat
from chronosplat.scenes import Scene
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
        **{f"model {name}": spec.about for name, spec in MODELS.items()},
    }


def describe_file(path: str) -> dict[str, Any]:
    """The facts of a scene, a weights file, or a capture.

    Raises:
        InputError: none of them.
    """
    given = Path(path)
    if given.suffix == ".safetensors":
        tensors, metadata = read_weights(given)
        if "chronosplat_schema" not in metadata:
            return {"kind": "weights", "parameters": sum(t.numel() for t in tensors.values()), **metadata}
        return _describe_scene(load_scene(path)) | {"schema": metadata["chronosplat_schema"]}
    if any(path.lower().endswith(entry.suffix) for entry in formats().values() if entry.read):
        return _describe_scene(load_scene(path))
    if not given.exists():
        raise InputError(f"{path}: no such file")
    views = load_capture(path)
    return {
        "kind": "capture",
        "frames": len(views),
        "size": f"{views.cameras.width}x{views.cameras.height}",
        "seconds": list(views.seconds),
        "notices": [str(notice) for notice in views.notices],
    }


def _describe_scene(scene: Scene) -> dict[str, Any]:
    """The facts of a scene."""
    low, high = scene.tensors()["means"].reshape(-1, 3).aminmax(dim=0)
    facts = {"kind": scene.kind, "gaussians": scene.num_gaussians}
    facts |= {"least": low.tolist(), "most": high.tolist(), "scale to the capture": scene.world.scale}
    facts |= {} if scene.num_frames is None else {"frames": scene.num_frames}
    facts |= {} if scene.seconds is None else {"seconds": list(scene.seconds)}
    edits = [step.record() for step in history(scene)]
    return facts | {"edits": edits} if edits else facts
