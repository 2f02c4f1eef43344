"""Make the image of docs/meshes.md: a scene, its surface with colours and without, at two times.

    python runs/meshes.py ASSETS docs/images/mesh.png

ASSETS: a folder with q_animals_fox.glb (Quaternius, CC0), which is reconstructed from renderings. Needs the extra ``mesh``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from chronosplat.assets import GltfModel, Material, PreparedSurface, Surface, rasterize_mesh
from chronosplat.assets.mesh import Floats, to_linear, vertex_normals
from chronosplat.cameras import Cameras, Similarity, orbit
from chronosplat.evaluate.studio import MeshStudio, ViewSpec, split_of
from chronosplat.meshes import Mesh, surface
from chronosplat.refine import BEST, fit
from chronosplat.render import render
from chronosplat.scenes import Scene

CAMERAS, TIMES, SIZE = 16, 6, 256  # of the capture
SHARES, ROWS = (0.0, 0.6), slice(70, 310)  # of the scene's time, and of the image
GREY = 0.7


def on_white(mesh: Mesh, colors: Floats, camera: Cameras, unlit: bool) -> Floats:
    """Render a mesh with colours [P, 3] at its vertices, [H, W, 3]."""
    look = np.concatenate([to_linear(colors), np.ones((len(colors), 1), np.float32)], 1)
    faces, none = mesh.faces.astype(np.int32), np.zeros((len(mesh.vertices), 2), np.float32)
    shown = Surface(faces, np.zeros(len(faces), np.int32), none, look, (Material(unlit=unlit),))
    positions = mesh.vertices.astype(np.float32)
    rgba = rasterize_mesh(PreparedSurface(shown), positions, vertex_normals(positions, faces), camera, samples=3)[0] / np.float32(255)
    return rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]


def fox(assets: Path) -> Scene:
    """Reconstruct a capture of the fox by static cameras, in two rings, as ``chronosplat reconstruct --refine best`` does."""
    studio = MeshStudio(GltfModel(assets / "q_animals_fox.glb", "AnimalArmature|Eating"), "fox", SIZE)
    frames = [studio.input_frames[round(i * (len(studio.input_frames) - 1) / (TIMES - 1))] for i in range(TIMES)]
    angles = [(360 / CAMERAS * i, (0.0, 30.0)[i % 2]) for i in range(CAMERAS)]
    return fit(split_of(studio, [ViewSpec(*angle, frame) for frame in frames for angle in angles]).inputs, BEST).scene


def main() -> None:
    """Write the image."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    scene, camera, rows = fox(arguments.assets), orbit([35.0], 15.0, 320, fovy=35.0), []
    first, last = scene.seconds or (0.0, 0.0)
    for share in SHARES:
        still = scene.at(first + share * (last - first)).with_world(Similarity())
        mesh = surface(still)
        splats = render(still, camera).rgb[0].clamp(0, 1).numpy()
        grey = np.full_like(mesh.colors, GREY)
        rows.append(np.concatenate([splats, on_white(mesh, mesh.colors, camera, True), on_white(mesh, grey, camera, False)], 1)[ROWS])
    Image.fromarray((np.concatenate(rows) * 255 + 0.5).astype(np.uint8)).save(arguments.output, optimize=True)


if __name__ == "__main__":
    main()
