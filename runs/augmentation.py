"""Contact sheet of augmentation: each row a model as it is, and changed.

python runs/augmentation.py ASSETS docs/images/augmentation.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from chronosplat.assets import GltfModel, MovingMesh, PreparedSurface, rasterize_mesh
from chronosplat.assets.augment import CHANGES, augment
from chronosplat.cameras import orbit
from chronosplat.data.clips import pose_clip

# file, animation, seed; all CC0
MODELS = (
    ("q_animals_fox.glb", 0, 1), ("kaykit_knight.glb", 30, 39), ("q_dinosaurs_velociraptor.glb", 0, 3), ("q_easy_enemies_frog.glb", 0, 12),
    ("q_fish_dolphin.glb", 0, 4), ("kaykit_barbarian.glb", 2, 5),
)  # fmt: skip
COLUMNS = ("retexture", "recolour", "bone_noise", "stretch")
SIZE, FRAMES = 96, 3


def strip(mesh: MovingMesh) -> np.ndarray:
    """Frames of a mesh side by side on white, [SIZE, FRAMES * SIZE, 3]."""
    poses, placement = pose_clip(mesh, np.linspace(0, 0.7, FRAMES) * mesh.duration)
    surface, camera = PreparedSurface(mesh.surface), orbit([30], 15.0, SIZE)
    frames = [rasterize_mesh(surface, placement.apply(p), n, camera, None, 3, 1)[0] for p, n in poses]
    rgba = np.concatenate(frames, 1).astype(float)
    alpha = rgba[..., 3:] / 255
    return (rgba[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("assets", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    rows = []
    for name, animation, seed in MODELS:
        model = GltfModel(options.assets / name, animation)
        meshes = [model, *(CHANGES[column](model, seed) for column in COLUMNS), augment(model, seed)]
        rows.append(np.concatenate([strip(mesh) for mesh in meshes], 1))
    Image.fromarray(np.concatenate(rows)).save(options.output, optimize=True)


if __name__ == "__main__":
    main()
