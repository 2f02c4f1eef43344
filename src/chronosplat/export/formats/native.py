"""The native scene file."""

from __future__ import annotations

from pathlib import Path

from chronosplat.events import Events
from chronosplat.export.registry import Format, Job, register
from chronosplat.scenes import Scene, load_scene, save_scene


def write(scene: Scene, path: Path, job: Job) -> None:
    """Write a scene file; see ``scenes/scene_file.py``."""
    save_scene(scene, path)


def read(path: Path, events: Events) -> Scene:
    """Read a scene file."""
    return load_scene(path)


register(Format(".safetensors", "native scene file", "scene", write, read, up="capture"))
