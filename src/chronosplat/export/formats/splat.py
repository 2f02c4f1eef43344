"""``.splat`` files, which nearly every web viewer opens: 32 bytes per Gaussian, no header.

Position and standard deviations as float32, RGBA as bytes, and the quaternion wxyz as bytes, 128 + 128 q. The Gaussians that
cover most come first, because viewers show the file while it loads.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from chronosplat.events import Events
from chronosplat.export.packing import arrays, gaussians, read_bytes, unorm
from chronosplat.export.registry import Format, Job, register
from chronosplat.scenes import Gaussians3D
from chronosplat.shapes import InputError

ROW = np.dtype([("means", "<f4", 3), ("scales", "<f4", 3), ("rgba", "u1", 4), ("quats", "u1", 4)])


def write(scene: Gaussians3D, path: Path, job: Job) -> None:
    """Write the Gaussians of one time."""
    g = arrays(scene)
    order = np.argsort(-g["scales"].prod(1) * g["opacities"], kind="stable")
    rows = np.zeros(len(order), ROW)
    rows["means"], rows["scales"] = g["means"], g["scales"]
    rows["rgba"] = unorm(np.concatenate([g["colors"], g["opacities"][:, None]], 1))
    rows["quats"] = np.clip(np.rint(g["quats"] * 128 + 128), 0, 255)
    path.write_bytes(rows[order].tobytes())


@np.errstate(all="ignore")  # damaged numbers are found by ``gaussians``
def read(path: Path, events: Events) -> Gaussians3D:
    """Read a file.

    Raises:
        InputError: a size that is no multiple of 32 bytes, or damaged numbers.
    """
    data = read_bytes(path)
    if len(data) % ROW.itemsize:
        raise InputError(f"{path}: cut short or no .splat file ({len(data)} bytes, expected a multiple of {ROW.itemsize})")
    rows = np.frombuffer(data, ROW)
    rgba = rows["rgba"].astype(np.float32) / 255
    quats = (rows["quats"].astype(np.float32) - 128) / 128
    return gaussians(path, means=rows["means"], quats=quats, scales=rows["scales"], opacities=rgba[:, 3], colors=rgba[:, :3])


LOSES = "colours, opacities and rotations are kept in 8 bits"
register(Format(".splat", "32 bytes per splat, for web viewers", "static", write, read, loses=LOSES))
