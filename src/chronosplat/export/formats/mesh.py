"""Surfaces: animated GLB, and numbered OBJ and PLY files.

A scene with correspondence over time becomes one mesh with a morph target per time; any other one mesh per time, shown in
turn. Colours are those of the splats, light included, so the material is unlit.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from chronosplat.assets.mesh import to_linear
from chronosplat.events import Events, info, warning
from chronosplat.export.glb import INDICES, VERTICES, GlbWriter
from chronosplat.export.registry import Format, Frames, Job, register
from chronosplat.meshes import Mesh, MeshOptions, MovingSurface, moving_surface, surface
from chronosplat.scenes import Gaussians3D
from chronosplat.shapes import InputError


def write_glb(frames: Frames, path: Path, job: Job) -> None:
    """Write one moving mesh, or one mesh per time."""
    with GlbWriter(path, job.world) as glb:
        glb.use("KHR_materials_unlit")
        glb.add("materials", {"name": "splats", "pbrMetallicRoughness": {"metallicFactor": 0}, "extensions": {"KHR_materials_unlit": {}}})
        moving = moving_surface(frames.scene, frames.times, job.options) if len(frames) > 1 else None
        if moving is not None:
            _report([moving.rest], job.events)
            _morph(glb, moving, frames.times)
            return
        nodes = []
        for index, mesh in enumerate(_surfaces(frames, job)):
            item = {"name": f"frame_{index:04d}"}
            primitive = {"mesh": glb.add("meshes", item | {"primitives": [_primitive(glb, mesh)]})} if len(mesh.faces) else {}
            nodes.append(glb.add("nodes", item | primitive))
        glb.show_in_turn(nodes, frames.times)


def _surfaces(frames: Frames, job: Job) -> Iterator[Mesh]:
    """The surface at each time; times without one have an empty mesh, and are counted in a notice."""
    found, empty = [], 0
    for index, gaussians in enumerate(frames):
        try:
            mesh = surface(gaussians, job.options)
            found.append(mesh.is_watertight())
        except InputError:
            if not found and index == len(frames) - 1:
                raise
            mesh, empty = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int64), np.zeros((0, 3), np.float32)), empty + 1
        yield mesh
        job.events.progress("extracting surfaces", index + 1, len(frames))
    if empty:
        job.events.notice(warning("no-surface", f"mesh: {empty} of {len(frames)} times have no surface"))
    _notice_open(found, job.events)


def _report(meshes: list[Mesh], events: Events) -> None:
    _notice_open([mesh.is_watertight() for mesh in meshes], events)


def _notice_open(watertight: list[bool], events: Events) -> None:
    """Say how many surfaces are not closed."""
    if not all(watertight):
        text = f"mesh: {watertight.count(False)} of {len(watertight)} surfaces are not watertight"
        events.notice(info("not-watertight", text, "{faces} keeps more triangles", faces=0))


def _primitive(glb: GlbWriter, mesh: Mesh) -> dict[str, Any]:
    """Write a mesh; vertex colours are linear, in 16 bits."""
    rgba = np.ones((len(mesh.vertices), 4), np.float32)
    rgba[:, :3] = to_linear(mesh.colors)
    return {
        "attributes": {
            "POSITION": glb.accessor(mesh.vertices, VERTICES, bounds=True),
            "COLOR_0": glb.accessor((rgba * 65535).round().astype(np.uint16), VERTICES, normalized=True),
        },
        "indices": glb.accessor(mesh.faces.astype(np.uint32).ravel(), INDICES),
        "material": 0,
    }


def _morph(glb: GlbWriter, moving: MovingSurface, times: tuple[float, ...]) -> None:
    """Write a mesh with one morph target per time, and weights that fade from each to the next."""
    offsets = moving.vertices - moving.rest.vertices
    targets = [{"POSITION": glb.accessor(offset, VERTICES, bounds=True)} for offset in offsets]
    weights = np.eye(len(times), dtype=np.float32)
    mesh = {"name": "surface", "weights": weights[0].tolist(), "primitives": [_primitive(glb, moving.rest) | {"targets": targets}]}
    node = glb.add("nodes", {"name": "surface", "mesh": glb.add("meshes", mesh)})
    glb.show([node])
    clock = np.array(glb.start_clock(times), np.float32)
    sampler = {"input": glb.accessor(clock, bounds=True), "output": glb.accessor(weights.ravel()), "interpolation": "LINEAR"}
    glb.add(
        "animations", {"name": "motion", "samplers": [sampler], "channels": [{"sampler": 0, "target": {"node": node, "path": "weights"}}]}
    )


def write_obj(gaussians: Gaussians3D, path: Path, job: Job) -> None:
    """Write a Wavefront OBJ with colours behind the vertices, as many programs read them."""
    mesh = surface(gaussians, job.options)
    _report([mesh], job.events)
    with path.open("w") as file:
        np.savetxt(file, np.concatenate([mesh.vertices, mesh.colors], 1), "v %.6g %.6g %.6g %.4g %.4g %.4g")
        np.savetxt(file, mesh.faces + 1, "f %d %d %d")


def write_ply(gaussians: Gaussians3D, path: Path, job: Job) -> None:
    """Write a binary PLY of vertices with 8-bit colours, and faces."""
    mesh = surface(gaussians, job.options)
    _report([mesh], job.events)
    vertices = np.zeros(len(mesh.vertices), [("xyz", "<f4", 3), ("rgb", "u1", 3)])
    vertices["xyz"], vertices["rgb"] = mesh.vertices, (mesh.colors * 255).round()
    faces = np.zeros(len(mesh.faces), [("count", "u1"), ("corners", "<i4", 3)])
    faces["count"], faces["corners"] = 3, mesh.faces
    header = [
        "ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}",
        *(f"property float {axis}" for axis in "xyz"), *(f"property uchar {name}" for name in ("red", "green", "blue")),
        f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header", "",
    ]  # fmt: skip
    path.write_bytes("\n".join(header).encode() + vertices.tobytes() + faces.tobytes())


LOSES = "a mesh keeps the surface alone: soft, thin and see-through parts are lost (docs/meshes.md)"
_common: dict[str, Any] = {"options": MeshOptions, "group": "mesh", "up": "y", "loses": LOSES}
register(
    Format(".mesh.glb", "surface with vertex colours, animated; extra mesh", "frames", write_glb, **_common),
    Format(".obj", "surface with vertex colours at one time; extra mesh", "static", write_obj, **_common),
    Format(".mesh.ply", "surface with vertex colours at one time; extra mesh", "static", write_ply, **_common),
)
