"""PLY sequences: one file per time step, named so that viewers play them (same prefix, zero-padded numbers)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from chronosplat.export.ply import write_ply
from chronosplat.scenes import Gaussians3D, Scene

VISIBLE = 1 / 255  # a Gaussian fainter than this at a time is left out of its file


def write_sequence(scene: Scene, folder: str | Path, frames: int = 24) -> Iterator[Path]:
    """Write ``frame_0000.ply ...`` into a folder, yielding each path as it is done.

    Args:
        frames: time steps of a scene that is continuous in time; any other has its own.
    """
    folder = Path(folder)
    times = scene.timestamps(frames) or [0.0]
    for stale in folder.glob("frame_*.ply"):  # a longer earlier sequence must not play on behind this one
        if stale.stem.removeprefix("frame_").isdigit() and int(stale.stem.removeprefix("frame_")) >= len(times):
            stale.unlink()
    for index, seconds in enumerate(times):
        path = folder / f"frame_{index:04d}.ply"
        write_ply(visible(scene.at(seconds)), path)
        yield path


def visible(gaussians: Gaussians3D) -> Gaussians3D:
    """The Gaussians that can be seen at all."""
    keep = torch.nonzero(gaussians.opacities >= VISIBLE)[:, 0]
    return gaussians.map(lambda t: t[keep])
