"""Meshes to pictures on the CPU: z-buffer, textures, vertex colours, lights, clean coverage alpha (native/mesh.cpp).

Faces that cross the near plane are not drawn: cameras stand outside the object.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_float, c_int32, c_int64, c_void_p
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from chronosplat.assets.mesh import Floats, Material, Surface, unit
from chronosplat.cameras import Cameras
from chronosplat.render.native import library
from chronosplat.shapes import InputError


@dataclass(frozen=True)
class Lights:
    """Directional lights and an ambient term.

    Attributes:
        directions: [L, 3] towards the light. energies: [L]. ambient: reflected light of a white surface in shadow.
    """

    directions: Floats = field(default_factory=lambda: L4GM_DIRECTIONS)
    energies: Floats = field(default_factory=lambda: L4GM_ENERGIES)
    ambient: float = 0.05


# L4GM's four suns (key, fill, rim, bottom) in +Y-up axes; Blender's sun energy divided by pi is the Lambert factor.
L4GM_DIRECTIONS = unit(np.array([(-0.5, 0.7071, 0.5), (0.5, 0.7071, -0.5), (-0.5, 0.7071, -0.5), (0.0, -1.0, 0.0)]))
L4GM_ENERGIES = np.array([4, 3, 4, 2], np.float32) / np.float32(np.pi)


class _Material(ctypes.Structure):
    _fields_ = [
        ("base", c_float * 4), ("emissive", c_float * 3), ("cutoff", c_float), ("texture", c_int32), ("emissive_texture", c_int32),
        ("alpha_mode", c_int32), ("two_sided", c_int32), ("unlit", c_int32),
    ]  # fmt: skip


class _Texture(ctypes.Structure):
    _fields_ = [("offset", c_int64), ("width", c_int32), ("height", c_int32)]


class _Scene(ctypes.Structure):
    _fields_ = [
        *[(n, c_int32) for n in ("vertices", "faces", "materials", "textures", "lights", "views", "width", "height", "samples")],
        ("ambient", c_float), ("near_plane", c_float),
        *[(n, c_void_p) for n in ("positions", "normals", "uvs", "colors", "indices", "face_materials")],
        ("material", POINTER(_Material)), ("texture", POINTER(_Texture)),
        *[(n, c_void_p) for n in ("texels", "light_directions", "light_energies", "viewmats", "Ks", "rgba")],
        *[(n, c_void_p) for n in ("velocities", "depth", "motion")],
    ]  # fmt: skip


class PreparedSurface:
    """A surface in the memory layout of the native rasteriser; made once per mesh."""

    def __init__(self, surface: Surface) -> None:
        self.indices = np.ascontiguousarray(surface.faces, np.int32)
        self.face_materials = np.ascontiguousarray(surface.face_materials, np.int32)
        self.uvs = np.ascontiguousarray(surface.uvs, np.float32)
        self.colors = np.ascontiguousarray(surface.colors, np.float32)
        self.materials = (_Material * len(surface.materials))(*(_material(m) for m in surface.materials))
        sizes = [t.shape[0] * t.shape[1] for t in surface.textures]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(int)
        self.textures = (_Texture * max(len(sizes), 1))(
            *(_Texture(int(o), t.shape[1], t.shape[0]) for o, t in zip(offsets, surface.textures, strict=False))
        )
        texels = [t.reshape(-1, 4) for t in surface.textures] or [np.zeros((1, 4))]
        self.texels = np.ascontiguousarray(np.concatenate(texels), np.float32)
        self.texture_count = len(sizes)


def _material(m: Material) -> _Material:
    base, emissive = (c_float * 4)(*m.base), (c_float * 3)(*m.emissive)
    return _Material(base, emissive, m.cutoff, m.texture, m.emissive_texture, m.alpha_mode, m.two_sided, m.unlit)


@dataclass(frozen=True)
class MeshPictures:
    """Pictures of a mesh and what is behind them.

    Attributes:
        rgba: [F, H, W, 4] uint8: straight sRGB, alpha = covered share of the pixel; background all zero.
        depth: [F, H, W] mean depth along the camera's axis where covered, else 0.
        motion: [F, H, W, 3] mean velocity of the surface in the world where covered; zero without velocities.
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
    """The pictures alone: ``rgba`` [F, H, W, 4] of :func:`rasterize_geometry`."""
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
) -> MeshPictures:
    """Render a posed mesh from F cameras.

    Args:
        positions: [P, 3] in the cameras' world. normals: [P, 3] unit. velocities: [P, 3], zero if None.
        lights: L4GM's four suns by default.
        samples: samples x samples per pixel.

    Raises:
        InputError: arrays that do not belong to the surface, or memory is out.
    """
    if positions.shape != (len(surface.colors), 3) or normals.shape != positions.shape:
        raise InputError(f"positions: expected [{len(surface.colors)}, 3] like normals, got {positions.shape} and {normals.shape}")
    if velocities is not None and velocities.shape != positions.shape:
        raise InputError(f"velocities: expected {list(positions.shape)} like positions, got {list(velocities.shape)}")
    lights = lights or Lights()
    shape = (len(cameras), cameras.height, cameras.width)
    keep = {
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
        keep |= {"velocities": np.ascontiguousarray(velocities, np.float32), "motion": motion}
    scene = _Scene(
        vertices=len(positions), faces=len(surface.indices), materials=len(surface.materials), textures=surface.texture_count,
        lights=len(lights.energies), views=len(cameras), width=cameras.width, height=cameras.height, samples=samples,
        ambient=lights.ambient, near_plane=0.02, material=surface.materials, texture=surface.textures,
        **{name: array.ctypes.data for name, array in keep.items()},
    )  # fmt: skip
    if library().mesh_render(ctypes.byref(scene), c_int32(threads)):
        raise InputError("out of memory while rasterising; use smaller pictures or fewer cameras at once")
    return MeshPictures(keep["rgba"], keep["depth"], motion)
