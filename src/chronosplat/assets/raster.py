"""Mesh rasteriser on the CPU: z-buffer, textures, vertex colours, lights, coverage alpha (native/mesh.cpp).

Faces that cross the near plane are culled, so cameras must be outside the object.
"""

from __future__ import annotations

from collections.abc import Mapping
from ctypes import addressof, byref, c_float
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from chronosplat.assets.mesh import Floats, Material, Surface, unit
from chronosplat.cameras import Cameras
from chronosplat.render.native import MeshMaterial, MeshScene, MeshTexture, Status, library
from chronosplat.shapes import InputError

NEAR_PLANE = 0.02
SAMPLES_MAX, EDGE_MAX = 64, 1 << 20  # native/mesh.h


@dataclass(frozen=True)
class Lights:
    """Directional lights and an ambient term.

    Attributes:
        directions: [L, 3] towards the lights, unit length. energies: [L]. ambient: radiance of a white surface in shadow.
    """

    directions: Floats = field(default_factory=lambda: L4GM_DIRECTIONS)
    energies: Floats = field(default_factory=lambda: L4GM_ENERGIES)
    ambient: float = 0.05


# L4GM's four suns (key, fill, rim, bottom) in +Y-up axes; Blender's sun energy divided by pi is the Lambert factor.
L4GM_DIRECTIONS = unit(np.array([(-0.5, 0.7071, 0.5), (0.5, 0.7071, -0.5), (-0.5, 0.7071, -0.5), (0.0, -1.0, 0.0)]))
L4GM_ENERGIES = np.array([4, 3, 4, 2], np.float32) / np.float32(np.pi)


class PreparedSurface:
    """A surface in the memory layout of the native rasteriser, prepared once per mesh.

    Raises:
        InputError: shapes do not fit together, or textures have NaN or infinite values.
    """

    def __init__(self, surface: Surface) -> None:
        count, faces = len(surface.colors), len(surface.faces)
        _check_shape("faces", surface.faces, (faces, 3))
        _check_shape("face_materials", surface.face_materials, (faces,))
        _check_shape("uvs", surface.uvs, (count, 4))
        _check_shape("colors", surface.colors, (count, 4))
        for i, texture in enumerate(surface.textures):
            _check_shape(f"textures[{i}]", texture, (*texture.shape[:2], 4))
            if not np.isfinite(texture).all():
                raise InputError(f"textures[{i}]: values are NaN or infinite; replace them with finite numbers")
        self.indices = np.ascontiguousarray(surface.faces, np.int32)
        self.face_materials = np.ascontiguousarray(surface.face_materials, np.int32)
        self.uvs = np.ascontiguousarray(surface.uvs, np.float32)
        self.colors = np.ascontiguousarray(surface.colors, np.float32)
        self.materials = (MeshMaterial * len(surface.materials))(*(_material(m) for m in surface.materials))
        sizes = [t.shape[0] * t.shape[1] for t in surface.textures]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(int)
        self.textures = (MeshTexture * max(len(sizes), 1))(
            *(MeshTexture(int(o), t.shape[1], t.shape[0]) for o, t in zip(offsets, surface.textures, strict=False))
        )
        texels = [t.reshape(-1, 4) for t in surface.textures] or [np.zeros((1, 4))]
        self.texels = np.ascontiguousarray(np.concatenate(texels), np.float32)
        self.texture_count = len(sizes)


def _check_shape(name: str, array: NDArray, expected: tuple[int, ...]) -> None:
    if array.shape != expected:
        raise InputError(f"{name}: expected shape {list(expected)}, got {list(array.shape)}; give one row per vertex, face or light")


def _material(m: Material) -> MeshMaterial:
    base, emissive = (c_float * 4)(*m.base), (c_float * 3)(*m.emissive)
    return MeshMaterial(base, emissive, m.cutoff, m.texture, m.emissive_texture, m.alpha_mode, m.two_sided, m.unlit)


@dataclass(frozen=True)
class MeshImages:
    """Images of a mesh with depth and motion.

    Attributes:
        rgba: [F, H, W, 4] uint8: straight sRGB, alpha = covered fraction of the pixel; zero where nothing is covered.
        depth: [F, H, W] mean depth of the covered part along the camera's axis; 0 where nothing is covered.
        motion: [F, H, W, 3] mean velocity of the covered part in the world; zero without velocities.
    """

    rgba: NDArray[np.uint8]
    depth: Floats
    motion: Floats


def rasterize_mesh(
    surface: PreparedSurface,
    positions: Floats,
    normals: Floats,
    cameras: Cameras,
    lights: Lights | None = None,
    samples: int = 2,
    threads: int = 1,
) -> NDArray[np.uint8]:
    """Return only ``rgba`` [F, H, W, 4] of :func:`rasterize_geometry`."""
    return rasterize_geometry(surface, positions, normals, cameras, None, lights, samples, threads).rgba


def rasterize_geometry(
    surface: PreparedSurface,
    positions: Floats,
    normals: Floats,
    cameras: Cameras,
    velocities: Floats | None = None,
    lights: Lights | None = None,
    samples: int = 2,
    threads: int = 1,
) -> MeshImages:
    """Render a posed mesh from F cameras.

    Args:
        positions: [P, 3] in the cameras' world. normals: [P, 3] unit. velocities: [P, 3], zero if None.
        lights: L4GM's four suns by default.
        samples: anti-aliasing with samples x samples per pixel.

    Raises:
        InputError: arrays do not fit the surface, values are NaN or infinite, indices or sizes are out of range, or memory
            runs out.
    """
    if positions.shape != (len(surface.colors), 3) or normals.shape != positions.shape:
        raise InputError(f"positions: expected [{len(surface.colors)}, 3] like normals, got {positions.shape} and {normals.shape}")
    if velocities is not None and velocities.shape != positions.shape:
        raise InputError(f"velocities: expected {list(positions.shape)} like positions, got {list(velocities.shape)}")
    lights = lights or Lights()
    _check_shape("lights.directions", lights.directions, (len(lights.energies), 3))
    _check_shape("lights.energies", lights.energies, (len(lights.energies),))
    shape = (len(cameras), cameras.height, cameras.width)
    arrays = {
        "positions": np.ascontiguousarray(positions, np.float32),
        "normals": np.ascontiguousarray(normals, np.float32),
        "uvs": surface.uvs,
        "colors": surface.colors,
        "indices": surface.indices,
        "face_materials": surface.face_materials,
        "texels": surface.texels,
        "light_directions": np.ascontiguousarray(lights.directions, np.float32),
        "light_energies": np.ascontiguousarray(lights.energies, np.float32),
        "viewmats": np.ascontiguousarray(cameras.viewmats.numpy(), np.float32),
        "Ks": np.ascontiguousarray(cameras.Ks.numpy(), np.float32),
        "rgba": np.empty((*shape, 4), np.uint8),
        "depth": np.empty(shape, np.float32),
    }
    motion = np.zeros((*shape, 3), np.float32)
    if velocities is not None:
        arrays |= {"velocities": np.ascontiguousarray(velocities, np.float32), "motion": motion}
    scene = MeshScene(
        vertices=len(positions), faces=len(surface.indices), materials=len(surface.materials), textures=surface.texture_count,
        lights=len(lights.energies), views=len(cameras), width=cameras.width, height=cameras.height, samples=samples,
        ambient=lights.ambient, near_plane=NEAR_PLANE, texel_count=len(surface.texels),
        material=addressof(surface.materials), texture=addressof(surface.textures),
        **{name: array.ctypes.data for name, array in arrays.items()},
    )  # fmt: skip
    if status := library().mesh_render(byref(scene), threads):
        raise InputError(_message(Status(status), scene, surface, arrays))
    return MeshImages(arrays["rgba"], arrays["depth"], motion)


# names of the arguments for arrays of the native scene
ARGUMENTS = {"indices": "faces", "light_directions": "lights.directions", "light_energies": "lights.energies"}


def _message(status: Status, scene: MeshScene, surface: PreparedSurface, arrays: Mapping[str, NDArray]) -> str:
    """Return the reason why the library rejected a scene."""
    size = f"{scene.width}x{scene.height} pixels with {scene.samples}x{scene.samples} samples each"
    if status == Status.NO_MEMORY:
        return f"rasterize: out of memory at {size}; use a smaller image, fewer samples or fewer threads"
    if status == Status.TOO_MANY:
        return f"rasterize: {size} and {scene.faces} faces are too many; use a smaller image, fewer samples or a simpler mesh"
    return _not_finite(scene, surface, arrays) if status == Status.NOT_FINITE else _out_of_range(scene, surface)


def _not_finite(scene: MeshScene, surface: PreparedSurface, arrays: Mapping[str, NDArray]) -> str:
    tables = {f"materials[{i}]": np.array([*m.base, *m.emissive, m.cutoff]) for i, m in enumerate(surface.materials)}
    inputs = {name: array for name, array in arrays.items() if name not in ("texels", "rgba", "depth", "motion")}
    for name, array in {**inputs, **tables, "lights.ambient": np.array([scene.ambient])}.items():
        if bad := int((~np.isfinite(array)).sum()):
            return f"{ARGUMENTS.get(name, name)}: {bad} of {array.size} values are NaN or infinite; replace them with finite numbers"
    return "rasterize: a value is NaN or infinite; replace it with a finite number"


def _out_of_range(scene: MeshScene, surface: PreparedSurface) -> str:
    tables = [("samples", [scene.samples], 1, SAMPLES_MAX), ("width", [scene.width], 1, EDGE_MAX), ("height", [scene.height], 1, EDGE_MAX)]
    tables += [("faces", surface.indices, 0, scene.vertices - 1), ("face_materials", surface.face_materials, 0, scene.materials - 1)]
    for i, m in enumerate(surface.materials):
        tables.append((f"materials[{i}]: texture and emissive_texture", [m.texture, m.emissive_texture], -1, scene.textures - 1))
        tables.append((f"materials[{i}]: alpha_mode", [m.alpha_mode], 0, 2))
    tables += [
        (f"textures[{i}]: width and height", [t.width, t.height], 1, EDGE_MAX) for i, t in enumerate(surface.textures[: scene.textures])
    ]
    for name, values, low, high in tables:
        values = np.asarray(values)
        if values.size and (values.min() < low or values.max() > high):
            return f"{name}: got {values.min()} to {values.max()}; use {low} to {high}"
    return "rasterize: the native library rejects the arguments; check shapes and focal lengths"
