"""Scene files: one safetensors file per scene.

It holds the fields of the scene by name, and as metadata ``kind``, ``chronosplat_schema`` (format version of the kind),
``world`` (JSON: the 4x4 similarity to the capture's world) and the kind's own entries.
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
    """Write a scene atomically, with its notes.

    Args:
        notes: more metadata, text by name.
    """
    facts = scene.metadata() | scene_metadata(type(scene), scene.world)
    write_tensors(scene.tensors(), Path(path), dict(scene.notes) | (notes or {}) | facts)


def scene_metadata(kind: type[Scene], world: Similarity) -> dict[str, str]:
    """Return the metadata that every scene file has."""
    matrix = {"scale": world.scale, "matrix": world.matrix().tolist()}
    return {"chronosplat_schema": str(kind.schema), "kind": kind.kind, "world": json.dumps(matrix)}


def load_scene(path: str | Path) -> Scene:
    """Read a scene that :func:`save_scene` wrote.

    Raises:
        InputError: the file is missing, truncated, damaged, not a scene, or of an unknown kind or schema.
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
        scene = kind.from_file(tensors, read_world(metadata), metadata)
        return scene.with_notes(read_notes(scene, metadata))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: damaged scene file ({error})") from error


def read_notes(scene: Scene, metadata: Mapping[str, str]) -> dict[str, str]:
    """Return what is in a file's metadata beside what the scene itself stores there."""
    facts = scene.metadata().keys() | scene_metadata(type(scene), scene.world).keys()
    return {name: text for name, text in metadata.items() if name not in facts}


def read_metadata(path: str | Path) -> dict[str, str]:
    """Read the metadata of a scene file, including the notes of :func:`save_scene`.

    Raises:
        InputError: the file is missing, truncated, or not a scene.
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
    """Parse the similarity to the capture's world.

    Raises:
        KeyError, TypeError, ValueError: the metadata is damaged.
    """
    world = json.loads(metadata["world"])
    matrix = torch.tensor(world["matrix"], dtype=torch.float64)
    if matrix.shape != (4, 4):
        raise ValueError(f"world is {list(matrix.shape)}, expected [4, 4]")
    return Similarity(world["scale"], matrix[:3, :3] / world["scale"], matrix[:3, 3])
