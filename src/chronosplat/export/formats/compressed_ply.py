"""``.compressed.ply`` files of PlayCanvas and SuperSplat: 16 bytes per Gaussian, read by most web engines.

A PLY with two elements. ``chunk``, one for every 256 Gaussians: the least and greatest position, logarithm of the standard
deviations, and colour. ``vertex``: four uint32 per Gaussian, relative to its chunk: position and scales in 11, 10 and 11 bits,
colour and opacity in 8 bits each, and the quaternion: two bits for the largest component of wxyz, ten for each other one.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from chronosplat.events import Events, info
from chronosplat.export.packing import (
    SMALLEST_SCALE,
    Array,
    arrays,
    from_smallest_three,
    gaussians,
    morton_order,
    smallest_three,
    unorm,
)
from chronosplat.export.ply_table import read_elements
from chronosplat.export.registry import Format, Job, register
from chronosplat.scenes import Gaussians3D
from chronosplat.shapes import InputError

CHUNK = 256
BOUNDS = [
    f"{end}_{prefix}{axis}" for prefix, axes in (("", "xyz"), ("scale_", "xyz"), ("", "rgb")) for end in ("min", "max") for axis in axes
]
PACKED = ["packed_position", "packed_rotation", "packed_scale", "packed_color"]
MIN_LOG, MAX_LOG = -20.0, 20.0  # of scales: readers clamp there


def write(scene: Gaussians3D, path: Path, job: Job) -> None:
    """Write the Gaussians of one time."""
    g = arrays(scene)
    order = morton_order(g["means"])
    g = {name: values[order] for name, values in g.items()}
    logs = np.clip(np.log(np.maximum(g["scales"], SMALLEST_SCALE)), MIN_LOG, MAX_LOG)
    starts = np.arange(0, len(order), CHUNK)
    chunk_of = np.arange(len(order)) // CHUNK
    bounds, relative = [], []
    for values in (g["means"], logs, g["colors"]):
        low, high = (reduce.reduceat(values, starts, axis=0) for reduce in (np.minimum, np.maximum))
        bounds += [low, high]
        relative.append((values - low[chunk_of]) / np.maximum(high - low, 1e-30)[chunk_of])
    positions, scales, colors = relative
    packed = [_pack(positions), _pack_rotations(g["quats"]), _pack(scales), _pack_colors(colors, g["opacities"])]
    header = ["ply", "format binary_little_endian 1.0", f"element chunk {len(starts)}", *(f"property float {name}" for name in BOUNDS)]
    header += [f"element vertex {len(order)}", *(f"property uint {name}" for name in PACKED), "end_header\n"]
    body = np.concatenate(bounds, 1).astype("<f4").tobytes() + np.stack(packed, 1).astype("<u4").tobytes()
    path.write_bytes("\n".join(header).encode() + body)


def _pack(values: Array) -> Array:
    return unorm(values[:, 0], 11) << 21 | unorm(values[:, 1], 10) << 11 | unorm(values[:, 2], 11)


def _unpack(packed: Array) -> Array:
    return np.stack([(packed >> 21) / 2047, (packed >> 11 & 0x3FF) / 1023, (packed & 0x7FF) / 2047], 1)


def _pack_rotations(quats: Array) -> Array:
    largest, three = smallest_three(quats)
    a, b, c = unorm(three * math.sqrt(0.5) + 0.5, 10).T
    return largest.astype(np.uint32) << 30 | a << 20 | b << 10 | c


def _unpack_rotations(packed: Array) -> Array:
    three = np.stack([packed >> shift & 0x3FF for shift in (20, 10, 0)], 1) / 1023 - 0.5
    return from_smallest_three((packed >> 30).astype(np.int64), three * math.sqrt(2))


def _pack_colors(colors: Array, opacities: Array) -> Array:
    r, g, b = unorm(colors).T
    return r << 24 | g << 16 | b << 8 | unorm(opacities)


@np.errstate(all="ignore")  # damaged numbers are found by ``gaussians``
def read(path: Path, events: Events) -> Gaussians3D:
    """Read a file.

    Raises:
        InputError: not such a PLY, cut short, or damaged.
    """
    ply = read_elements(path, "chunk", "vertex")
    table = ply.elements.get("vertex")
    missing = next((name for name in PACKED if table is None or name not in (table.dtype.names or ())), None)
    if missing or table is None:
        raise InputError(f"{path}: not a compressed PLY (no {missing}); a plain one is named .ply")
    chunks = ply.columns("chunk")
    count = len(table)
    if len(next(iter(chunks.values()), ())) < math.ceil(count / CHUNK):
        raise InputError(f"{path}: damaged, {count} Gaussians need {math.ceil(count / CHUNK)} chunks of {CHUNK}")
    if "sh" in ply.names:
        events.notice(info("harmonics", f"{path}: colours that depend on the viewing direction are left out (degree 0 is kept)"))
    packed = {name: table[name].astype(np.int64) & 0xFFFFFFFF for name in PACKED}
    chunk_of = np.arange(count) // CHUNK

    def placed(values: Array, prefix: str, axes: str) -> Array:
        ends = [[f"{end}_{prefix}{axis}" for axis in axes] for end in ("min", "max")]
        absent = next((name for name in ends[0] + ends[1] if name not in chunks), None)
        if absent and axes == "rgb":
            return values  # files of the first version: colours in [0, 1]
        if absent:
            raise InputError(f"{path}: not a compressed PLY (no {absent})")
        low, high = (np.stack([chunks[name] for name in names], 1)[chunk_of] for names in ends)
        return low * (1 - values) + high * values

    color = np.stack([packed["packed_color"] >> shift & 0xFF for shift in (24, 16, 8, 0)], 1) / 255
    return gaussians(
        path,
        means=placed(_unpack(packed["packed_position"]), "", "xyz"),
        quats=_unpack_rotations(packed["packed_rotation"]),
        scales=np.exp(placed(_unpack(packed["packed_scale"]), "scale_", "xyz")),
        opacities=color[:, 3],
        colors=placed(color[:, :3], "", "rgb"),
    )


LOSES = "positions, sizes and rotations are rounded to 10 or 11 bits within 256 neighbours, colours and opacities to 8 bits"
register(Format(".compressed.ply", "compressed PLY, for SuperSplat and web engines", "static", write, read, loses=LOSES))
