"""The native file: one safetensors file per scene.

Tensors are the scene's fields by name. Metadata: ``kind``, ``chronosplat_schema`` (the version of that kind's file), ``world``
(JSON: the 4x4 similarity to the capture's world), and what the kind adds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from chronosplat.cameras import Similarity
from chronosplat.files import write_tensors
from chronosplat.scenes.scene import SCENE_KINDS, Scene
from chronosplat.shapes import InputError


def save_scene(scene: Scene, path: str | Path, notes: dict[str, str] | None = None) -> None:
    """Write a scene, by atomic rename.

    Args:
        notes: more metadata to keep, text by name.
    """
    write_tensors(scene.tensors(), Path(path), (notes or {}) | scene.metadata() | scene_metadata(type(scene), scene.world))


def scene_metadata(kind: type[Scene], world: Similarity) -> dict[str, str]:
    """The metadata that every scene file has."""
    matrix = {"scale": world.scale, "matrix": world.matrix().tolist()}
    return {"chronosplat_schema": str(kind.schema), "kind": kind.kind, "world": json.dumps(matrix)}


def load_scene(path: str | Path) -> Scene:
    """Read a scene that :func:`save_scene` wrote.

    Raises:
        InputError: no such file; not a safetensors file, or truncated; not a scene; an unknown kind or schema; damaged fields.
    """
    path = Path(path)
    metadata = read_metadata(path)
    name = metadata.get("kind")
    kind = SCENE_KINDS.get(name or "")
    if kind is None:
        raise InputError(f"{path}: unknown kind of scene {name!r}; known: {', '.join(SCENE_KINDS)}")
    if metadata["chronosplat_schema"] != str(kind.schema):
        found = metadata["chronosplat_schema"]
        raise InputError(f"{path}: {name} schema {found}, this version reads {kind.schema}; update chronosplat")
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    try:
        return kind.from_file(tensors, read_world(metadata), metadata)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: a damaged scene file ({error})") from error


def read_metadata(path: str | Path) -> dict[str, str]:
    """The metadata of a scene file, the notes of :func:`save_scene` among them.

    Raises:
        InputError: no such file; not a safetensors file, or truncated; not a scene.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such scene file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable safetensors file, or truncated ({error})") from error
    if "chronosplat_schema" not in metadata:
        raise InputError(f"{path}: a safetensors file, but not a chronosplat scene (no chronosplat_schema in its metadata)")
    return metadata


def read_world(metadata: Mapping[str, str]) -> Similarity:
    """The similarity to the capture's world.

    Raises:
        KeyError, TypeError, ValueError: damaged metadata.
    """
    world = json.loads(metadata["world"])
    matrix = torch.tensor(world["matrix"], dtype=torch.float64)
    if matrix.shape != (4, 4):
        raise ValueError(f"world is {list(matrix.shape)}, expected [4, 4]")
    return Similarity(world["scale"], matrix[:3, :3] / world["scale"], matrix[:3, 3])
