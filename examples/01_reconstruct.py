"""A capture to a scene, in five lines: make a small capture, reconstruct it, and evaluate it between two timestamps."""

from __future__ import annotations

import sys
from pathlib import Path

import chronosplat as cs
from chronosplat.data.render import CaptureRig, render_capture


def main(folder: Path) -> None:
    """Write a capture and its scene into ``folder``."""
    render_capture("procedural:creature", None, CaptureRig(size=64, frames=6, random=2, samples=2), folder / "capture")
    views = cs.load_capture(folder / "capture", max_frames=8)
    scene = cs.reconstruct(views, steps=60)  # leave steps out for the quality of the command line
    cs.save_scene(scene, folder / "scene.safetensors")
    frozen = scene.at(0.5)
    print(f"{scene.num_gaussians} moving Gaussians; at 0.5 s {int((frozen.opacities > 1 / 255).sum())} of them are visible")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "outputs/example"))
