"""Rendering with Blender's Cycles, for the exact look of the papers' data: a program of its own, never imported.

Blender is found as ``blender`` on the path, or at ``CHRONOSPLAT_BLENDER``, which may also name a Python that has ``bpy``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chronosplat.assets.gltf import GltfFile
from chronosplat.assets.lights import Lights
from chronosplat.assets.mesh import Floats
from chronosplat.shapes import InputError, UnavailableError

VARIABLE = "CHRONOSPLAT_BLENDER"
DRIVER = Path(__file__).with_name("blender_driver.py")
SAMPLES = 16  # L4GM


def blender_command() -> list[str]:
    """Return the beginning of the command line that runs a script in Blender.

    Raises:
        UnavailableError: there is no Blender.
    """
    named = os.environ.get(VARIABLE)
    program = shutil.which(named or "blender")
    if program is None:
        problem = f"{VARIABLE}: no program {named}" if named else "blender: not found on the path"
        raise UnavailableError(f"renderer blender: {problem}", f"install Blender, or set {VARIABLE} to it or to a Python that has bpy")
    if Path(program).name.startswith("python"):
        return [program]
    return [program, "--background", "--factory-startup", "--python-exit-code", "1", "--python"]


def render_with_blender(
    path: Path,
    animation: int | None,
    seconds: NDArray[np.floating],
    viewmats: NDArray[np.floating],
    Ks: NDArray[np.floating],
    size: tuple[int, int],
    center: Floats,
    scale: float,
    lights: Lights | None = None,
    samples: int = SAMPLES,
    threads: int = 1,
) -> NDArray[np.uint8]:
    """Render V cameras at T times with Cycles on the CPU.

    Args:
        path, animation: a glTF file and the number of its animation, None for a static pose.
        seconds: [T] times in the animation.
        viewmats: [T, V, 4, 4] world to camera, OpenCV axes. Ks: [V, 3, 3] in pixels, with square pixels.
        size: width and height in pixels.
        center, scale: the object's placement in the world: (point - center) * scale.
        samples: of Cycles, per pixel.

    Returns:
        [T, V, H, W, 4] uint8, straight sRGB with coverage alpha.

    Raises:
        InputError: the file cannot be read, Blender cannot import it, or pixels are not square.
        UnavailableError: there is no Blender.
    """
    if not np.allclose(Ks[:, 0, 0], Ks[:, 1, 1], rtol=1e-4):
        raise InputError("renderer blender: focal lengths differ in x and y; expected square pixels")
    command, (width, height) = blender_command(), size
    with tempfile.TemporaryDirectory(prefix="chronosplat-blender-") as folder:
        job = {
            "file": str(one_animation(path, animation, Path(folder))),
            "seconds": np.asarray(seconds, float).tolist(),
            "viewmats": np.asarray(viewmats, float).tolist(),
            "Ks": np.asarray(Ks, float).tolist(),
            "width": width,
            "height": height,
            "center": np.asarray(center, float).tolist(),
            "scale": float(scale),
            "samples": samples,
            "threads": threads,
            **lighting(lights or Lights()),
        }
        file = Path(folder) / "job.json"
        file.write_text(json.dumps(job))
        ran = subprocess.run([*command, str(DRIVER), "--", str(file)], capture_output=True, text=True, check=False)
        images = [[Path(folder) / f"{t:04d}_{v:04d}.png" for v in range(len(Ks))] for t in range(len(seconds))]
        if ran.returncode or not all(image.is_file() for row in images for image in row):
            lines = [line for line in (ran.stderr + ran.stdout).splitlines() if "Error" in line]
            raise InputError(f"{path}: Blender cannot render it ({lines[-1].strip() if lines else f'exit {ran.returncode}'})")
        return np.stack([[np.asarray(Image.open(image).convert("RGBA")) for image in row] for row in images])


def lighting(lights: Lights) -> dict[str, Any]:
    """Return suns and world as the driver takes them."""
    suns = zip(lights.directions.tolist(), lights.colors.tolist(), strict=True)
    above, below = (tuple(lights.ambient + c for c in color) for color in (lights.sky, lights.ground))
    return {"suns": [{"direction": d, "radiance": c} for d, c in suns], "world": {"sky": above, "ground": below}}


def one_animation(path: Path, animation: int | None, folder: Path) -> Path:
    """Write a copy of a model with one of its animations, its buffers and images beside it.

    Blender plays the animation that comes first, and mixes in others; a copy with only one needs no choice.
    """
    file = GltfFile(path)
    document = dict(file.json)
    chosen = [file.items("animations")[animation]] if animation is not None and file.items("animations") else []
    document["animations"] = chosen
    if not chosen:
        del document["animations"]
    document["buffers"] = [dict(buffer) for buffer in file.items("buffers")]
    for k, buffer in enumerate(document["buffers"]):
        buffer["uri"] = f"buffer{k}.bin"
        (folder / buffer["uri"]).write_bytes(file.buffer(k))
    document["images"] = [dict(image) for image in file.items("images")]
    for k, image in enumerate(document["images"]):
        if "bufferView" not in image:
            suffix = {"image/jpeg": ".jpg", "image/webp": ".webp"}.get(image.get("mimeType", ""), Path(image["uri"]).suffix[:5])
            (folder / f"image{k}{suffix}").write_bytes(file.encoded_image(k))
            image["uri"] = f"image{k}{suffix}"
    copy = folder / "model.gltf"
    copy.write_text(json.dumps(document))
    return copy
