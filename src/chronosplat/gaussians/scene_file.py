"""The native file: one safetensors file per scene, with its own schema version.

Tensors are the scene's fields by name. Metadata: ``chronosplat_schema`` (an integer; this code writes and reads 1),
``kind``, and as JSON ``world`` (the 4x4 similarity to the capture's world), ``clock`` and ``seconds``.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from chronosplat.cameras import Similarity
from chronosplat.files import write_tensors
from chronosplat.gaussians.scenes import Clock, Gaussians3D, Gaussians4D, GaussianSequence, Scene
from chronosplat.shapes import InputError

SCHEMA = 1
KINDS: dict[str, type[Gaussians3D] | type[GaussianSequence] | type[Gaussians4D]] = {
    kind.__name__: kind for kind in (Gaussians3D, GaussianSequence, Gaussians4D)
}


def save_scene(scene: Scene, path: str | Path, notes: dict[str, str] | None = None) -> None:
    """Write a scene, by atomic rename.

    Args:
        notes: more metadata to keep, text by name.
    """
    metadata = scene_metadata(type(scene), scene.world, notes)
    if isinstance(scene, Gaussians4D):
        metadata["clock"] = json.dumps({"offset": scene.clock.offset, "rate": scene.clock.rate})
        metadata["seconds"] = json.dumps(list(scene.seconds))
    write_tensors(scene.tensors(), Path(path), metadata)


def scene_metadata(kind: type, world: Similarity, notes: dict[str, str] | None = None) -> dict[str, str]:
    """What every scene file says of itself."""
    return {
        **(notes or {}),
        "chronosplat_schema": str(SCHEMA),
        "kind": kind.__name__,
        "world": json.dumps({"scale": world.scale, "matrix": world.matrix().tolist()}),
    }


def load_scene(path: str | Path) -> Scene:
    """Read a scene that :func:`save_scene` wrote.

    Raises:
        InputError: no such file; not a safetensors file or cut short; not a scene; another schema; fields amiss.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such scene file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable safetensors file, or cut short ({error})") from error
    if "chronosplat_schema" not in metadata:
        raise InputError(f"{path}: a safetensors file, but not a chronosplat scene (no chronosplat_schema in its metadata)")
    if metadata["chronosplat_schema"] != str(SCHEMA):
        raise InputError(f"{path}: scene schema {metadata['chronosplat_schema']}, this version reads {SCHEMA}; update chronosplat")
    return _scene_of(path, metadata, tensors)


def read_notes(path: str | Path) -> dict[str, str]:
    """The metadata of a scene file that :func:`load_scene` can read, the notes of :func:`save_scene` among them."""
    with safe_open(path, framework="pt") as file:
        return file.metadata() or {}


def _scene_of(path: Path, metadata: dict[str, str], tensors: dict[str, torch.Tensor]) -> Scene:
    kind = KINDS.get(metadata.get("kind", ""))
    if kind is None:
        raise InputError(f"{path}: unknown kind of scene {metadata.get('kind')!r}; known: {', '.join(KINDS)}")
    try:
        world = json.loads(metadata["world"])
        matrix = torch.tensor(world["matrix"], dtype=torch.float64)
        if matrix.shape != (4, 4):
            raise ValueError(f"world is {list(matrix.shape)}, expected [4, 4]")
        extra: dict[str, object] = {"world": Similarity(world["scale"], matrix[:3, :3] / world["scale"], matrix[:3, 3])}
        if kind is Gaussians4D:
            first, last = json.loads(metadata["seconds"])
            extra |= {"clock": Clock(**json.loads(metadata["clock"])), "seconds": (float(first), float(last))}
        return kind(**tensors, **extra)  # pyright: ignore[reportArgumentType]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: a damaged scene file ({error})") from error
