"""PLY sequences: one file per moment, named so that viewers play them (same prefix, zero-padded numbers)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from chronosplat.export.ply import write_ply
from chronosplat.gaussians import Gaussians3D, Gaussians4D, GaussianSequence, Scene

VISIBLE = 1 / 255  # a Gaussian fainter than this at a moment is left out of its file


def moments(scene: Gaussians4D | GaussianSequence, frames: int) -> list[float]:
    """Evenly spaced seconds over the observed time; a sequence keeps its own frames."""
    if isinstance(scene, GaussianSequence):
        return [float(t) for t in scene.times]
    first, last = scene.seconds
    return [first + (last - first) * i / max(frames - 1, 1) for i in range(frames)]


def write_sequence(scene: Scene, folder: str | Path, frames: int = 24) -> Iterator[Path]:
    """Write ``frame_0000.ply ...`` into a folder, yielding each path as it is done.

    Args:
        frames: files for a moving cloud; a sequence writes its own frames, a static scene one.
    """
    folder = Path(folder)
    times = [0.0] if isinstance(scene, Gaussians3D) else moments(scene, frames)
    for stale in folder.glob("frame_*.ply"):  # a longer earlier sequence must not play on behind this one
        if stale.stem.removeprefix("frame_").isdigit() and int(stale.stem.removeprefix("frame_")) >= len(times):
            stale.unlink()
    for index, seconds in enumerate(times):
        path = folder / f"frame_{index:04d}.ply"
        write_ply(visible(scene if isinstance(scene, Gaussians3D) else scene.at(seconds)), path)
        yield path


def visible(gaussians: Gaussians3D) -> Gaussians3D:
    """The Gaussians that can be seen at all."""
    keep = torch.nonzero(gaussians.opacities >= VISIBLE)[:, 0]
    return replace(gaussians, **{name: t[keep] for name, t in gaussians.tensors().items()})  # pyright: ignore[reportArgumentType]
