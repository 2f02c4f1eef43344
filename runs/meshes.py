"""Make the image of docs/meshes.md: a reconstructed fox, its surface with colours and without, at two times.

    python runs/meshes.py ASSETS docs/images/mesh.png

ASSETS: a folder with q_animals_fox.glb (Quaternius, CC0). Needs the extra ``mesh``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from chronosplat.assets import GltfModel, Material, PreparedSurface, Surface, rasterize_mesh
from chronosplat.assets.mesh import Floats, to_linear, vertex_normals
from chronosplat.cameras import Cameras, Similarity, orbit
from chronosplat.evaluate.studio import MeshStudio, ViewSpec
from chronosplat.meshes import Mesh, MeshOptions, surface
from chronosplat.refine import random_in_hull, refine
from chronosplat.render import render
from chronosplat.scenes import Scene

TIMES, SIZE, SECONDS = 6, 160, 100.0  # of the input images; of the reconstruction
SHOWN, ROWS = (0, 3), slice(70, 310)  # times, and rows of the image
GREY = 0.7


def reconstructed(model: GltfModel) -> tuple[Scene, list[float]]:
    """Reconstruct a model from 16 static cameras; also return the seconds of its timestamps."""
    studio = MeshStudio(model, model.name, size=SIZE, times=TIMES)
    ring = [(45.0 * k + (22.5 if elevation else 0.0), elevation) for k in range(8) for elevation in (0.0, 30.0)]
    views = studio.get_views([ViewSpec(azimuth, elevation, frame) for frame in range(TIMES) for azimuth, elevation in ring], "inputs")
    scene = refine(random_in_hull(views, 12000, opacity=0.5), views, seconds=SECONDS, strategy="deform")
    return scene, views.times.unique().tolist()


def on_white(mesh: Mesh, colors: Floats, camera: Cameras, unlit: bool) -> Floats:
    """Render a mesh with colours [P, 3] at its vertices, [H, W, 3]."""
    look = np.concatenate([to_linear(colors), np.ones((len(colors), 1), np.float32)], 1)
    faces, none = mesh.faces.astype(np.int32), np.zeros((len(mesh.vertices), 2), np.float32)
    shown = Surface(faces, np.zeros(len(faces), np.int32), none, look, (Material(unlit=unlit),))
    positions = mesh.vertices.astype(np.float32)
    rgba = rasterize_mesh(PreparedSurface(shown), positions, vertex_normals(positions, faces), camera, samples=3)[0] / np.float32(255)
    return rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]


def main() -> None:
    """Write the image."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    scene, seconds = reconstructed(GltfModel(arguments.assets / "q_animals_fox.glb"))
    camera, rows = orbit([35.0], 15.0, 320, fovy=31.0), []
    for k in SHOWN:
        still = scene.at(seconds[k]).with_world(Similarity())
        mesh = surface(still, MeshOptions())
        splats = render(still, camera).rgb[0].clamp(0, 1).numpy()
        grey = np.full_like(mesh.colors, GREY)
        rows.append(np.concatenate([splats, on_white(mesh, mesh.colors, camera, True), on_white(mesh, grey, camera, False)], 1)[ROWS])
    Image.fromarray((np.concatenate(rows) * 255 + 0.5).astype(np.uint8)).save(arguments.output, optimize=True)


if __name__ == "__main__":
    main()
