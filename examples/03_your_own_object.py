"""Any moving mesh is data: define one by its positions over time, render it, and write a capture."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from chronosplat.assets.procedural.parts import assemble, icosphere, paint
from chronosplat.captures import save_transforms
from chronosplat.evaluate.setups import alternating_canonical


def main(folder: Path) -> None:
    """A ball that bounces and squashes, in the alternating canonical set-up."""
    sphere, faces = icosphere(3)

    def positions(t: float) -> np.ndarray:
        height = abs(np.sin(2 * np.pi * t))
        squash = 0.7 + 0.3 * min(1.0, 3 * height)
        return sphere * 0.3 * [squash**-0.5, squash, squash**-0.5] + [0, 0.3 * squash + 0.6 * height, 0]

    ball = assemble("ball", faces, paint(sphere, np.random.default_rng(4)), 1.0, positions)
    split = alternating_canonical(ball, size=64, times=8, samples=2)
    save_transforms(split.inputs, folder, "train")
    save_transforms(split.targets, folder, "test")
    print(f"{len(split.inputs)} inputs and {len(split.targets)} held-out views in {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "outputs/ball"))
