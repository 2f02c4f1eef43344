"""``.splatv`` files of splaTV and gsplat.js: Gaussians in linear motion, 64 bytes each, laid out as a texture.

Two uint32 (magic 0x674b, bytes of the JSON that follows), a JSON list with one chunk (``type`` splat, ``size``, ``texwidth``,
``texheight``, ``cameras``), then the texture. Of each Gaussian's 16 words, the first three are the position at the time centre
as float32, and word 7 is RGBA; all others are pairs of half floats: quaternion wxyz, standard deviations, the velocity with
accelerations (zero), a rotation over time (zero), the time centre, and the width s of the weight exp(-(t - centre)^2 / s^2).

Viewers play times from 0 to 1. ``seconds`` in the chunk, which they ignore, keeps the first and last second.
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chronosplat.events import Events, warning
from chronosplat.export.packing import Array, arrays, gaussians, read_bytes, tensor, unorm
from chronosplat.export.registry import Format, Job, register
from chronosplat.scenes import Gaussians3D, Gaussians4D
from chronosplat.shapes import InputError

MAGIC, TEXTURE_WIDTH = 0x674B, 4096
PAIRS = [("scales", "<f2", 3), ("pad", "<f2"), ("rgba", "u1", 4), ("velocities", "<f2", 3), ("higher", "<f2", 6), ("pad2", "<f2")]
ROW = np.dtype([("means", "<f4", 3), ("quats", "<f2", 4), *PAIRS, ("turns", "<f2", 4), ("center", "<f2"), ("width", "<f2")])
ALWAYS = 4096.0  # a width in units of the whole time, far beyond which a Gaussian counts as static
HALF_MAX, HALF_MIN = 65504.0, 6.2e-5
VIEW = (1280, 720, 788.0)  # width, height and focal length in pixels of the camera that viewers start with: 49.1 degrees


def write(scene: Gaussians3D | Gaussians4D, path: Path, job: Job) -> None:
    """Write static or moving Gaussians."""
    first, last = scene.seconds or (0.0, 1.0)
    span = max(last - first, 1e-6)
    g = arrays(scene)
    count = len(g["means"])
    height = math.ceil(4 * count / TEXTURE_WIDTH)
    rows = np.zeros(height * TEXTURE_WIDTH // 4, ROW)
    used = rows[:count]
    with np.errstate(over="ignore"):
        used["quats"], used["scales"] = g["quats"], np.clip(g["scales"], 0, HALF_MAX)
        used["rgba"] = unorm(np.concatenate([g["colors"], g["opacities"][:, None]], 1))
        used["means"], used["width"] = g["means"], ALWAYS
        if "velocities" in g:
            centers = (g["time_centers"].astype(np.float64) - first) / span
            used["velocities"] = np.clip(g["velocities"] * span, -HALF_MAX, HALF_MAX)
            used["center"] = np.clip(centers, -HALF_MAX, HALF_MAX)
            used["width"] = np.clip(math.sqrt(2) * g["time_sigmas"] / span, HALF_MIN, ALWAYS)
            # the half-float centre lies a little beside the true one: stay on the line
            off = used["center"].astype(np.float64) - centers
            used["means"] = g["means"] + used["velocities"].astype(np.float64) * off[:, None]
    chunk: dict[str, Any] = {
        "type": "splat",
        "size": rows.nbytes,
        "texwidth": TEXTURE_WIDTH,
        "texheight": height,
        "cameras": [_camera(job)],
    }
    text = json.dumps([chunk | {"seconds": scene.seconds}]).encode()
    path.write_bytes(struct.pack("<2I", MAGIC, len(text)) + text + rows.tobytes())


def _camera(job: Job) -> dict[str, Any]:
    """The front view in the form of 3DGS's cameras.json."""
    width, height, focal = VIEW
    position = job.world.points(torch.tensor([0.0, 0.0, 1.5], dtype=torch.float64))
    rotation = job.world.rotation @ torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
    pose = {"position": position.tolist(), "rotation": rotation.tolist()}
    return {"id": 0, "img_name": "front", "width": width, "height": height, "fx": focal, "fy": focal} | pose


@np.errstate(all="ignore")  # damaged numbers are found by ``gaussians``
def read(path: Path, events: Events) -> Gaussians3D | Gaussians4D:
    """Read a file; static Gaussians where nothing moves or fades.

    Raises:
        InputError: not such a file, sizes that do not fit it, or damaged numbers.
    """
    data = read_bytes(path)
    chunk, start = _chunk(path, data)
    rows = np.frombuffer(data, ROW, offset=start, count=chunk["size"] // ROW.itemsize)
    rows = rows[rows["width"] != 0]  # zeros fill the texture up
    rgba = rows["rgba"].astype(np.float32) / 255
    shapes = {name: rows[name].astype(np.float32) for name in ("means", "quats", "scales")}
    still = gaussians(path, **shapes, opacities=rgba[:, 3], colors=rgba[:, :3])
    if rows["higher"].any() or rows["turns"].any():
        events.notice(warning("spacetime-motion", f"{path}: accelerations and rotations over time are left out, motion is linear"))
    velocities, centers = (rows[name].astype(np.float32) for name in ("velocities", "center"))
    if bool((rows["width"] >= ALWAYS).all()) and not velocities.any():
        return still
    first, last = _seconds(chunk.get("seconds"))
    sigmas = np.abs(rows["width"].astype(np.float32)) / math.sqrt(2) * (last - first)
    motion: dict[str, Array] = {
        "velocities": velocities / (last - first),
        "time_centers": first + centers * (last - first),
        "time_sigmas": sigmas,
    }
    fields: dict[str, Any] = still.tensors() | {name: tensor(path, name, values) for name, values in motion.items()}
    return Gaussians4D(**fields, seconds=(first, last))


def _chunk(path: Path, data: bytes) -> tuple[dict[str, Any], int]:
    """The splat chunk, and where its texture starts."""
    if len(data) < 8 or struct.unpack_from("<I", data)[0] != MAGIC:
        raise InputError(f"{path}: not a .splatv file")
    start = 8 + struct.unpack_from("<I", data, 4)[0]
    try:
        chunks = json.loads(data[8:start].decode()) if start <= len(data) else None
    except (ValueError, RecursionError):
        chunks = None
    for chunk in chunks if isinstance(chunks, list) else []:
        size = chunk.get("size") if isinstance(chunk, dict) else None
        if type(size) is not int or size < 0:
            break
        if chunk.get("type") == "splat":
            if size % ROW.itemsize or start + size > len(data):
                raise InputError(f"{path}: cut short ({max(0, len(data) - start)} of {size} bytes), or no multiple of {ROW.itemsize} bytes")
            return chunk, start
        start += size
    raise InputError(f"{path}: damaged header, expected a list of chunks, one of type 'splat'")


def _seconds(noted: Any) -> tuple[float, float]:
    """First and last second; what viewers play where the file does not say."""
    is_pair = isinstance(noted, list) and len(noted) == 2 and all(isinstance(t, int | float) and abs(t) < 1e9 for t in noted)
    return (float(noted[0]), float(noted[1])) if is_pair and noted[1] - noted[0] > 1e-9 else (0.0, 1.0)


LOSES = "colours and opacities are kept in 8 bits, shapes, velocities and times in half floats"
register(Format(".splatv", "linear motion, for splaTV and gsplat.js", "motion", write, read, loses=LOSES))
