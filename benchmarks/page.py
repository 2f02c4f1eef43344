"""Sizes of pages, and the time and memory that writing them takes.

    python benchmarks/page.py OUTPUT --splats 393216 --frames 24
    python benchmarks/page.py OUTPUT --scene scene.safetensors

Surface-like random Gaussians: linear motion, and a stored sequence of ``--frames`` with ``--splats`` in all; or a scene file.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path
from typing import Any

import torch

from chronosplat.scenes import Clock, Gaussians4D, Scene, SequenceWriter, StoredSequence, load_scene, normalize
from chronosplat.viewer import write_page
from chronosplat.viewer.page import TEMPLATE


def surface(count: int, seed: int = 0) -> dict[str, Any]:
    """Flat Gaussians on a bumpy sphere; all are visible, and sizes and opacities are random."""
    random = torch.Generator().manual_seed(seed)
    way = torch.randn(count, 3, generator=random)
    way = way / way.norm(dim=-1, keepdim=True)
    radius = 0.45 + 0.08 * torch.sin(7 * way[:, :1]) * torch.cos(5 * way[:, 1:2])
    turn = torch.stack([1 + way[:, 2], -way[:, 1], way[:, 0], torch.zeros(count)], -1)
    return {
        "means": way * radius,
        "quats": normalize(turn),
        "scales": torch.tensor([0.008, 0.005, 0.002]) * (0.5 + torch.rand(count, 1, generator=random)),
        "opacities": 0.3 + 0.69 * torch.rand(count, generator=random),
        "colors": (0.5 + 0.5 * torch.sin(6 * way + torch.tensor([0.0, 2.0, 4.0]))).clamp(0, 1),
    }


def moving(count: int) -> Gaussians4D:
    """Linear motion with random velocities and times."""
    random = torch.Generator().manual_seed(1)
    return Gaussians4D(
        **surface(count),
        velocities=0.1 * torch.randn(count, 3, generator=random),
        time_centers=2 * torch.rand(count, generator=random) - 1,
        time_sigmas=0.2 + torch.rand(count, generator=random),
        clock=Clock(0.5, 0.5),
        seconds=(0.0, 1.0),
    )


def stored(path: Path, frames: int, count: int) -> StoredSequence:
    """A sequence on disk, other Gaussians in every frame."""
    with SequenceWriter(path, torch.arange(frames).double() / 24, count) as writer:
        for frame in range(frames):
            writer.write(frame, {name: values[None] for name, values in surface(count, frame).items()})
    return StoredSequence(path)


def measure(name: str, scene: Scene, path: Path) -> None:
    """Write a page and print what it took."""
    begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    size = write_page(scene, path).stat().st_size
    seconds = time.perf_counter() - begun
    splats = scene.num_gaussians * (scene.num_frames or 1)
    each = (size - TEMPLATE.stat().st_size) / splats
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3
    print(
        f"{name}: {splats:,} splats, {size / 1e6:.2f} MB, {each:.1f} bytes a splat, {seconds:.1f} s, peak memory +{more:.0f} MB", flush=True
    )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--splats", type=int, default=393_216)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--scene", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.output.mkdir(parents=True, exist_ok=True)
    print(f"player: {TEMPLATE.stat().st_size / 1e6:.2f} MB")
    if arguments.scene is not None:
        measure(arguments.scene.name, load_scene(arguments.scene), arguments.output / "scene.html")
        return
    sequence = stored(arguments.output / "sequence.safetensors", arguments.frames, arguments.splats // arguments.frames)
    measure(f"{arguments.frames} frames", sequence, arguments.output / "sequence.html")
    sequence.path.unlink()
    measure("linear motion", moving(arguments.splats), arguments.output / "linear.html")


if __name__ == "__main__":
    main()
