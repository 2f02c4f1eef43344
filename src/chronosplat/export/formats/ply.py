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
from chronosplat.events import Events, info, warning
from chronosplat.export.coordinates import in_world, placed, world_of
from chronosplat.export.packing import OPACITY_RIM, SH_C0, SMALLEST_SCALE, Array, gaussians, tensor
from chronosplat.export.ply_table import Ply, read_elements
from chronosplat.export.registry import Format, Job, register
from chronosplat.files import atomic_file
from chronosplat.scenes import Gaussians3D, Gaussians4D, Scene, normalize
from chronosplat.shapes import InputError

STATIC = [*"xyz", "nx", "ny", "nz", *(f"f_dc_{i}" for i in range(3)), "opacity", *(f"scale_{i}" for i in range(3))]
STATIC += [f"rot_{i}" for i in range(4)]
MOVING = ["t", "scale_t", "motion_0", "motion_1", "motion_2"]


def _static_columns(g: Gaussians3D | Gaussians4D) -> list[Tensor]:
    g = g.to(dtype=torch.float32)
    opacities = g.opacities.clamp(OPACITY_RIM, 1 - OPACITY_RIM)
    columns = [g.means, torch.zeros_like(g.means), (g.colors - 0.5) / SH_C0, torch.logit(opacities)[:, None]]
    return [*columns, g.scales.clamp_min(SMALLEST_SCALE).log(), normalize(g.quats)]


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
        columns += [t["time_centers"][:, None], t["time_sigmas"].clamp_min(SMALLEST_SCALE).log()[:, None], t["velocities"]]
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


def read_ply(path: str | Path, events: Events | None = None) -> Gaussians3D | Gaussians4D:
    """Read what :func:`write_ply` wrote, or any binary 3DGS PLY, in the file's coordinates.

    Args:
        events: receives a notice for what is left out.

    Raises:
        InputError: the file is missing, damaged, cut short, or no PLY of Gaussians.
    """
    path, events = Path(path), events or Events()
    return _scene(path, read_elements(path, "vertex"), events)


@np.errstate(all="ignore")  # damaged numbers are found by ``gaussians``
def _scene(path: Path, ply: Ply, events: Events) -> Gaussians3D | Gaussians4D:
    columns = ply.columns("vertex")
    if "packed_position" in columns:
        raise InputError(f"{path}: a compressed PLY; rename it to {path.stem}.compressed.ply")
    missing = [name for name in STATIC if name not in columns and not name.startswith("n")]
    if missing:
        raise InputError(f"{path}: not a Gaussian splat PLY (no {missing[0]})")

    def take(*names: str) -> Array:
        return np.stack([columns[name] for name in names], -1)

    moving = "trbf_center" in columns
    still = gaussians(
        path,
        means=take("x", "y", "z"),
        quats=take("rot_0", "rot_1", "rot_2", "rot_3"),
        scales=np.exp(take("scale_0", "scale_1", "scale_2")),
        opacities=1 / (1 + np.exp(-columns["opacity"])),
        colors=take("f_dc_0", "f_dc_1", "f_dc_2") * (1 if moving else SH_C0) + (0 if moving else 0.5),
    )
    if any(name.startswith("f_rest_") for name in columns):
        events.notice(info("harmonics", f"{path}: colours that depend on the viewing direction are left out (degree 0 is kept)"))
    if moving:
        return _spacetime(path, still, columns, events)
    if not set(MOVING) <= set(columns):
        return still
    sigmas = np.exp(columns["scale_t"])
    first, last = sorted(ply.numbers("seconds", 2) or [float(columns["t"].min(initial=0)), float(columns["t"].max(initial=0))])
    return _moving(path, still, take("motion_0", "motion_1", "motion_2"), columns["t"], sigmas, (first, last))


def _moving(path: Path, still: Gaussians3D, velocities: Array, centers: Array, sigmas: Array, seconds: tuple[float, float]) -> Gaussians4D:
    motion = {"velocities": velocities, "time_centers": centers, "time_sigmas": sigmas}
    checked: dict[str, Any] = still.tensors() | {name: tensor(path, name, values) for name, values in motion.items()}
    checked["time_sigmas"] = checked["time_sigmas"].clamp_min(SMALLEST_SCALE)
    return Gaussians4D(**checked, seconds=seconds)


def _spacetime(path: Path, still: Gaussians3D, columns: dict[str, NDArray[np.float32]], events: Events) -> Gaussians4D:
    """The names of SpacetimeGaussians (lite): weight exp(-(t - center)^2 / s^2), plain RGB, and time in [0, 1]."""
    higher = [name for name in columns if name.startswith(("motion_", "omega_")) and name not in MOVING]
    if any(bool(columns[name].any()) for name in higher):
        events.notice(warning("spacetime-motion", f"{path}: accelerations and rotations over time are left out, motion is linear"))
    velocities = np.stack([columns.get(f"motion_{i}", np.zeros_like(columns["x"])) for i in range(3)], -1)
    sigmas = np.exp(columns.get("trbf_scale", np.zeros_like(columns["x"]))) / math.sqrt(2)
    return _moving(path, still, velocities, columns["trbf_center"], sigmas, (0.0, 1.0))


def write(scene: Gaussians3D | Gaussians4D, path: Path, job: Job) -> None:
    """Write a PLY with its world."""
    write_ply(scene, path, job.world)


def read(path: Path, events: Events) -> Scene:
    """Read a PLY; ours in its own world, others in their coordinates."""
    ply = read_elements(path, "vertex")
    scene, world = _scene(path, ply, events), world_of(ply.numbers("world", 16))
    return placed(scene, world) if world else scene


register(Format(".ply", "3DGS PLY; a 4D PLY if the scene moves", "motion", write, read))
