"""Mesh rasteriser on the CPU (native/mesh.cpp): z-buffer, blended layers, textures, lights, coverage alpha, geometry.

Two ways of shading: ``lambert`` is diffuse, reads textures at full size for every sample, and is what the evaluation's numbers
are measured on; ``pbr`` is glTF's metallic-roughness model with mip-mapped textures and normal maps (docs/rasteriser.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from ctypes import addressof, byref, c_float
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from chronosplat.assets.lights import Lights
from chronosplat.assets.mesh import Floats, Ints
from chronosplat.assets.prepared import PreparedSurface, check_shape
from chronosplat.cameras import Cameras
from chronosplat.render.native import MeshMaterial, MeshScene, Status, library
from chronosplat.shapes import InputError

NEAR_PLANE = 0.02
SAMPLES_MAX, EDGE_MAX, UV_SETS_MAX = 64, 1 << 20, 8  # native/mesh_check.h
Shading = Literal["lambert", "pbr"]


@dataclass(frozen=True)
class MeshImages:
    """Images of a mesh with geometry. Means are over the visible surfaces of a pixel, by their share of it.

    Attributes:
        rgba: [F, H, W, 4] uint8: straight sRGB, alpha = covered fraction of the pixel; zero where nothing is covered.
        depth: [F, H, W] mean depth along the camera's axis; 0 where nothing is covered.
        motion: [F, H, W, 3] mean velocity in the world; zero without velocities.
        normals: [F, H, W, 3] mean unit normal in the world, on the camera's side, without normal maps; 0 where nothing is covered.
        parts: [F, H, W] int32 part (``Surface.parts``) that covers most of the pixel; -1 where nothing is covered.
    """

    rgba: NDArray[np.uint8]
    depth: Floats
    motion: Floats
    normals: Floats
    parts: Ints


def rasterize_mesh(
    surface: PreparedSurface,
    positions: Floats,
    normals: Floats,
    cameras: Cameras,
    lights: Lights | None = None,
    samples: int = 2,
    threads: int = 1,
    shading: Shading = "lambert",
) -> NDArray[np.uint8]:
    """Return only ``rgba`` [F, H, W, 4] of :func:`rasterize_geometry`."""
    rgba = np.empty((len(cameras), cameras.height, cameras.width, 4), np.uint8)
    _render(surface, positions, normals, cameras, {"rgba": rgba}, None, lights, samples, threads, shading)
    return rgba


def rasterize_geometry(
    surface: PreparedSurface,
    positions: Floats,
    normals: Floats,
    cameras: Cameras,
    velocities: Floats | None = None,
    lights: Lights | None = None,
    samples: int = 2,
    threads: int = 1,
    shading: Shading = "lambert",
) -> MeshImages:
    """Render a posed mesh from F cameras.

    Args:
        positions: [P, 3] in the cameras' world. normals: [P, 3] unit. velocities: [P, 3], zero if None.
        lights: L4GM's four suns by default.
        samples: anti-aliasing with samples x samples per pixel.
        threads: any number gives the same bytes.
        shading: ``pbr``, or ``lambert`` for the plain look of the evaluation.

    Raises:
        InputError: arrays do not fit the surface, values are NaN or infinite, indices or sizes are out of range, or memory
            runs out.
    """
    shape = (len(cameras), cameras.height, cameras.width)
    outputs = {
        "rgba": np.empty((*shape, 4), np.uint8),
        "depth": np.empty(shape, np.float32),
        "surface_normals": np.empty((*shape, 3), np.float32),
        "parts": np.empty(shape, np.int32),
    }
    motion = np.zeros((*shape, 3), np.float32)
    if velocities is not None:
        outputs["motion"] = motion
    _render(surface, positions, normals, cameras, outputs, velocities, lights, samples, threads, shading)
    return MeshImages(outputs["rgba"], outputs["depth"], motion, outputs["surface_normals"], outputs["parts"])


def _render(
    surface: PreparedSurface,
    positions: Floats,
    normals: Floats,
    cameras: Cameras,
    outputs: Mapping[str, NDArray],
    velocities: Floats | None,
    lights: Lights | None,
    samples: int,
    threads: int,
    shading: Shading,
) -> None:
    """Fill ``outputs``, arrays by their name in MeshScene."""
    if positions.shape != (len(surface.colors), 3) or normals.shape != positions.shape:
        raise InputError(f"positions: expected [{len(surface.colors)}, 3] like normals, got {positions.shape} and {normals.shape}")
    if velocities is not None and velocities.shape != positions.shape:
        raise InputError(f"velocities: expected {list(positions.shape)} like positions, got {list(velocities.shape)}")
    if shading not in get_args(Shading):
        raise InputError(f"shading: got {shading!r}; use {' or '.join(get_args(Shading))}")
    lights = lights or Lights()
    check_shape("lights.directions", lights.directions, (len(lights.energies), 3))
    if np.shape(lights.energies)[1:] not in ((), (1,), (3,)):
        raise InputError(f"lights.energies: expected shape [L] or [L, 3], got {list(np.shape(lights.energies))}")
    arrays = {
        "positions": np.ascontiguousarray(positions, np.float32),
        "normals": np.ascontiguousarray(normals, np.float32),
        "uvs": surface.uvs,
        "colors": surface.colors,
        "indices": surface.indices,
        "face_materials": surface.face_materials,
        "face_parts": surface.face_parts,
        "texels": surface.texels,
        "light_directions": np.ascontiguousarray(lights.directions, np.float32),
        "light_colors": lights.colors,
        "viewmats": np.ascontiguousarray(cameras.viewmats.numpy(), np.float32),
        "Ks": np.ascontiguousarray(cameras.Ks.numpy(), np.float32),
    }
    if velocities is not None:
        arrays["velocities"] = np.ascontiguousarray(velocities, np.float32)
    sky, ground = ((c_float * 3)(*(lights.ambient + part for part in color)) for color in (lights.sky, lights.ground))
    scene = MeshScene(
        vertices=len(positions), faces=len(surface.indices), materials=len(surface.materials), textures=surface.texture_count,
        lights=len(lights.energies), views=len(cameras), width=cameras.width, height=cameras.height, samples=samples,
        uv_sets=surface.uv_sets, shading=get_args(Shading).index(shading), near_plane=NEAR_PLANE, sky=sky, ground=ground,
        texel_count=len(surface.texels), material=addressof(surface.materials), texture=addressof(surface.textures),
        **{name: array.ctypes.data for name, array in {**arrays, **outputs}.items()},
    )  # fmt: skip
    if status := library().mesh_render(byref(scene), threads):
        raise InputError(_message(Status(status), scene, surface, arrays, lights))


# names of the arguments for arrays of the native scene
ARGUMENTS = {"indices": "faces", "light_directions": "lights.directions", "light_colors": "lights.energies"}


def _message(status: Status, scene: MeshScene, surface: PreparedSurface, arrays: Mapping[str, NDArray], lights: Lights) -> str:
    """Return the reason why the library rejected a scene."""
    size = f"{scene.width}x{scene.height} pixels with {scene.samples}x{scene.samples} samples each"
    if status == Status.NO_MEMORY:
        return f"rasterize: out of memory at {size}; use a smaller image, fewer samples or fewer threads"
    if status == Status.TOO_MANY:
        return f"rasterize: {size} and {scene.faces} faces are too many; use a smaller image, fewer samples or a simpler mesh"
    return _not_finite(surface, arrays, lights) if status == Status.NOT_FINITE else _out_of_range(scene, surface)


def _not_finite(surface: PreparedSurface, arrays: Mapping[str, NDArray], lights: Lights) -> str:
    tables = {f"materials[{i}]": _numbers(m) for i, m in enumerate(surface.materials)}
    tables |= {"lights.ambient": np.array([lights.ambient]), "lights.sky": np.array(lights.sky), "lights.ground": np.array(lights.ground)}
    inputs = {name: array for name, array in arrays.items() if name != "texels"}
    for name, array in {**inputs, **tables}.items():
        if bad := int((~np.isfinite(array)).sum()):
            return f"{ARGUMENTS.get(name, name)}: {bad} of {array.size} values are NaN or infinite; replace them with finite numbers"
    return "rasterize: a value is NaN or infinite; replace it with a finite number"


def _numbers(m: MeshMaterial) -> NDArray[np.float64]:
    return np.array([*m.base, *m.emissive, *m.specular, m.metallic, m.roughness, m.normal_scale, m.occlusion, m.cutoff])


def _out_of_range(scene: MeshScene, surface: PreparedSurface) -> str:
    tables = [("samples", [scene.samples], 1, SAMPLES_MAX), ("width", [scene.width], 1, EDGE_MAX), ("height", [scene.height], 1, EDGE_MAX)]
    tables += [("faces", surface.indices, 0, scene.vertices - 1), ("face_materials", surface.face_materials, 0, scene.materials - 1)]
    tables += [("uvs: sets", [scene.uv_sets], 1, UV_SETS_MAX)]
    for i, m in enumerate(surface.materials):
        tables.append((f"materials[{i}]: textures", list(m.textures), -1, scene.textures - 1))
        tables.append((f"materials[{i}]: uv_sets", list(m.uv_sets), 0, scene.uv_sets - 1))
        tables.append((f"materials[{i}]: alpha_mode", [m.alpha_mode], 0, 2))
    for i, t in enumerate(surface.textures[: scene.textures]):
        tables.append((f"textures[{i}]: width and height", [t.width, t.height], 1, EDGE_MAX))
        tables.append((f"textures[{i}]: wrap", [t.wrap_u, t.wrap_v], 0, 2))
    for name, values, low, high in tables:
        values = np.asarray(values)
        if values.size and (values.min() < low or values.max() > high):
            return f"{name}: got {values.min()} to {values.max()}; use {low} to {high}"
    return "rasterize: the native library rejects the arguments; check shapes and focal lengths"
