"""3DGS PLY files: the format that nearly every splat viewer opens, written and read with numpy.

Per Gaussian, little-endian float32: ``x y z``, ``nx ny nz`` (zero), ``f_dc_0..2`` = (rgb - 0.5) / 0.28209479,
``opacity`` = logit, ``scale_0..2`` = log of the standard deviations, ``rot_0..3`` = wxyz unit quaternion.
A moving cloud in one file (4D PLY) is a normal 3DGS PLY at the time centres, with ``t``, ``scale_t`` (log sigma, in
seconds) and ``motion_0..2`` (units per second) added, so that static viewers still open it. Comments hold the observed
``seconds`` and the ``world``: the 4x4 matrix from the normalised world, +Y up, to the file's coordinates.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chronosplat.cameras import Similarity
from chronosplat.events import Events, info
from chronosplat.export.coordinates import in_world, placed, world_of
from chronosplat.export.registry import Format, Job, register
from chronosplat.files import atomic_file
from chronosplat.scenes import Gaussians3D, Gaussians4D, Scene, normalize
from chronosplat.shapes import InputError

SH_C0 = 0.28209479177387814
STATIC = [*"xyz", "nx", "ny", "nz", *(f"f_dc_{i}" for i in range(3)), "opacity", *(f"scale_{i}" for i in range(3))]
STATIC += [f"rot_{i}" for i in range(4)]
MOVING = ["t", "scale_t", "motion_0", "motion_1", "motion_2"]
OPACITY_RIM = 1e-6  # keeps logits finite


def _static_columns(g: Gaussians3D | Gaussians4D) -> list[Tensor]:
    g = g.to(dtype=torch.float32)
    opacities = g.opacities.clamp(OPACITY_RIM, 1 - OPACITY_RIM)
    columns = [g.means, torch.zeros_like(g.means), (g.colors - 0.5) / SH_C0, torch.logit(opacities)[:, None]]
    return [*columns, g.scales.clamp_min(1e-12).log(), normalize(g.quats)]


def write_ply(scene: Scene, path: str | Path, world: Similarity | None = None) -> None:
    """Write one PLY in the capture's world, by atomic rename.

    Args:
        world: from the normalised world to the capture's; noted in the file, so that it is read upright again.

    Raises:
        InputError: a scene whose Gaussians neither stand still nor move on straight lines.
    """
    if scene.linear_form() is None:
        raise InputError(f"{path}: a {scene.kind} does not fit into one PLY; write a folder: {Path(path).with_suffix('')}/")
    placed_scene = in_world(scene)
    columns, names, comments = _static_columns(placed_scene), STATIC, []
    if placed_scene.seconds is not None:
        t = placed_scene.tensors()
        columns += [t["time_centers"][:, None], t["time_sigmas"].clamp_min(1e-12).log()[:, None], t["velocities"]]
        names, comments = STATIC + MOVING, [f"comment seconds {placed_scene.seconds[0]!r} {placed_scene.seconds[1]!r}"]
    if world is not None:
        comments.append("comment world " + " ".join(repr(value) for value in world.matrix().flatten().tolist()))
    table = torch.cat([c.detach().cpu().float() for c in columns], 1).numpy().astype("<f4")
    header = [
        "ply",
        "format binary_little_endian 1.0",
        *comments,
        f"element vertex {len(table)}",
        *(f"property float {n}" for n in names),
        "end_header",
    ]
    with atomic_file(Path(path)) as fresh:
        fresh.write_bytes("\n".join(header).encode() + b"\n" + table.tobytes())


def read_table(path: str | Path) -> dict[str, NDArray[np.float32]]:
    """The float columns of a binary little-endian PLY's vertices by name.

    Raises:
        InputError: not such a PLY, or cut short.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    data = Path(path).read_bytes()
    end = data.find(b"end_header\n")
    if not data.startswith(b"ply") or end < 0:
        raise InputError(f"{path}: not a PLY file")
    lines = [line.split() for line in data[:end].decode("ascii", "replace").split("\n") if line.strip()]
    if ["format", "binary_little_endian", "1.0"] not in lines:
        raise InputError(f"{path}: expected a binary little-endian PLY")
    count, names = _vertex_layout(path, lines)
    body = data[end + len(b"end_header\n") :]
    if len(body) < 4 * count * len(names):
        raise InputError(f"{path}: cut short ({len(body)} of {4 * count * len(names)} bytes)")
    table = np.frombuffer(body, "<f4", count * len(names)).reshape(count, len(names))
    return {name: table[:, i].copy() for i, name in enumerate(names)}


def _vertex_layout(path: str | Path, lines: list[list[str]]) -> tuple[int, list[str]]:
    """How many vertices there are, and the names of their columns; only floats, and vertices first, are read."""
    elements = [i for i, line in enumerate(lines) if line[0] == "element"]
    first = lines[elements[0]] if elements else []
    if len(first) != 3 or first[1] != "vertex" or not first[2].isdigit():
        raise InputError(f"{path}: expected the vertices, and their number, as the first element")
    until = elements[1] if len(elements) > 1 else len(lines)
    properties = [line for line in lines[elements[0] : until] if line[0] == "property"]
    other = next((line for line in properties if len(line) != 3 or line[1] not in ("float", "float32")), None)
    if other:
        raise InputError(f"{path}: expected float properties only, found {' '.join(other[1:])}")
    return int(first[2]), [line[2] for line in properties]


def read_ply(path: str | Path) -> Gaussians3D | Gaussians4D:
    """Read what :func:`write_ply` wrote, or any 3DGS PLY (higher spherical harmonics are left out)."""
    columns = read_table(path)
    missing = [n for n in STATIC if n not in columns and not n.startswith("n")]
    if missing:
        raise InputError(f"{path}: not a Gaussian splat PLY (no {missing[0]})")

    def take(*names: str) -> Tensor:
        stacked = torch.from_numpy(np.stack([columns[n] for n in names], -1))
        return stacked[:, 0] if len(names) == 1 else stacked

    shape: dict[str, Any] = {
        "means": take("x", "y", "z"),
        "quats": take("rot_0", "rot_1", "rot_2", "rot_3"),
        "scales": take("scale_0", "scale_1", "scale_2").exp(),
        "opacities": torch.sigmoid(take("opacity")),
        "colors": take("f_dc_0", "f_dc_1", "f_dc_2") * SH_C0 + 0.5,
    }
    if "scale_t" not in columns:
        return Gaussians3D(**shape)
    motion: dict[str, Any] = {
        "velocities": take("motion_0", "motion_1", "motion_2"),
        "time_centers": take("t"),
        "time_sigmas": take("scale_t").exp(),
    }
    return Gaussians4D(**shape, **motion, world=Similarity(), seconds=_seconds(path, columns))


def _seconds(path: str | Path, columns: dict[str, NDArray[np.float32]]) -> tuple[float, float]:
    """The observed seconds of a 4D PLY: from our comment, else the span of the time centres."""
    noted = _numbers(path, "seconds", 2)
    return (noted[0], noted[1]) if noted else (float(columns["t"].min(initial=0.0)), float(columns["t"].max(initial=0.0)))


def _numbers(path: str | Path, name: str, count: int) -> list[float]:
    """The numbers of a comment; none if it is missing or damaged."""
    with Path(path).open("rb") as file:
        for line in iter(file.readline, b"end_header\n"):
            words = line.split()
            if words[:2] == [b"comment", name.encode()] and len(words) == count + 2:
                try:
                    return [value for value in map(float, words[2:]) if math.isfinite(value)]
                except ValueError:
                    return []
    return []


def write(scene: Gaussians3D | Gaussians4D, path: Path, job: Job) -> None:
    """Write a PLY with its world."""
    write_ply(scene, path, job.world)


def read(path: Path, events: Events) -> Scene:
    """Read a PLY; ours in its own world, others in their coordinates."""
    scene, world = read_ply(path), world_of(_numbers(path, "world", 16))
    with Path(path).open("rb") as file:
        if any(line.startswith(b"property float f_rest_") for line in iter(file.readline, b"end_header\n")):
            events.notice(info("harmonics", f"{path}: colours that depend on the viewing direction are left out (degree 0 is kept)"))
    return scene if world is None else placed(scene, world)


register(Format(".ply", "3DGS PLY; a 4D PLY if the scene moves", "motion", write, read))
