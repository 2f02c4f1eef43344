"""Consistent4D's folders: an input video as ``0.png 1.png ...`` and, in the test set, four more views in ``eval_0`` to ``eval_3``.

The files hold no cameras. The evaluation views are at azimuths -75, 15, 105 and 195 degrees, the input view is at 0, all at elevation 0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from chronosplat.cameras import FOVY, RADIUS
from chronosplat.cameras.paths import orbit_pose
from chronosplat.captures.registry import Described, Layout, numbered, register
from chronosplat.events import info
from chronosplat.shapes import InputError

AZIMUTHS = (-75.0, 15.0, 105.0, 195.0)
FPS = 8  # 32 frames are 4 seconds (L4GM, section 6.2)
IMAGE = r"(\d{1,6})\.png"


def _sequences(folder: Path, split: str) -> dict[float, dict[int, Path]]:
    """The frames of a split by the azimuth of their camera."""
    if split == "train":
        return {0.0: found} if (found := numbered(folder, IMAGE)) else {}
    return {azimuth: found for i, azimuth in enumerate(AZIMUTHS) if (found := numbered(folder / f"eval_{i}", IMAGE))}


def _splits(folder: Path) -> tuple[str, ...]:
    return tuple(split for split in ("train", "test") if any(len(s) > 1 for s in _sequences(folder, split).values()))


def _describe(folder: Path, split: str) -> Described:
    frames: list[dict[str, Any]] = []
    for azimuth, files in _sequences(folder, split).items():
        if list(files) != list(range(len(files))):
            missing = next(i for i in range(len(files)) if i not in files)
            raise InputError(f"{folder}: {missing}.png is missing between the frames at azimuth {azimuth:g}")
        pose = orbit_pose(azimuth, 0.0, RADIUS).tolist()
        frames += [{"file_path": str(file.resolve()), "timestamp": t / FPS, "transform_matrix": pose} for t, file in files.items()]
    frames.sort(key=lambda frame: frame["timestamp"])
    assumed = f"{folder.name}: no cameras in it; assumed at radius {RADIUS} with fovy {FOVY:g} degrees, {FPS} frames per second"
    meta = {"camera_angle_x": float(torch.deg2rad(torch.tensor(FOVY, dtype=torch.float64))), "frames": frames}
    return Described(meta, folder / "eval_0", (0.0, 1.0, 0.0), (info("assumed-cameras", assumed),))


register(Layout("consistent4d", "0.png 1.png ..., eval_0/0.png ...", _splits, _describe))
