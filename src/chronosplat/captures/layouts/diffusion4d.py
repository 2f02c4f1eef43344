"""Diffusion4D's renderings of one object: a video on an orbit (split ``train``), the object's first frame from all around (``static``),
and videos of standing cameras in front, at the left, at the right and at the back (``test``), each with Blender cameras as JSON.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chronosplat.captures.registry import Described, Layout, numbered, register
from chronosplat.shapes import InputError

FPS = 24
SIDES = ("front", "right", "back", "left")


def _sequences(folder: Path, split: str) -> dict[str, dict[int, Path]]:
    """The frames of a split by the prefix of their camera's file."""
    prefixes = {"train": {"multi": "multi_frame"}, "static": {"static": "multi_static_frame"}, "test": {s: f"{s}_frame" for s in SIDES}}
    return {camera: found for camera, prefix in prefixes[split].items() if (found := numbered(folder, rf"{prefix}(\d{{1,6}})\.png"))}


def _splits(folder: Path) -> tuple[str, ...]:
    return tuple(split for split in ("train", "static", "test") if _sequences(folder, split))


def _describe(folder: Path, split: str) -> Described:
    frames: list[dict[str, Any]] = []
    for camera, files in _sequences(folder, split).items():
        for number, file in files.items():
            own, shared = folder / f"{camera}{number}.json", folder / f"{camera}.json"
            pose, fov = _camera(own if own.is_file() else shared)
            seconds = 0.0 if split == "static" else number / FPS
            frames.append({"file_path": str(file.resolve()), "timestamp": seconds, "transform_matrix": pose, "camera_angle_x": fov})
    frames.sort(key=lambda frame: frame["timestamp"])
    return Described({"frames": frames}, folder / "multi0.json")


def _camera(path: Path) -> tuple[Any, Any]:
    """Return Blender's camera-to-world matrix, and the horizontal field of view in radians."""
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
        return meta["matrix_world"], meta["x_fov"]
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; each frame of Diffusion4D has a camera") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: not a camera; expected matrix_world and x_fov ({error})") from error


register(Layout("diffusion4d", "multi_frame0.png, multi0.json ...", _splits, _describe))
