"""Moving textured meshes, the input of the rasteriser and the data engine."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


Bytes = NDArray[np.uint8]


class Wrap(IntEnum):
    """What a texture shows outside of [0, 1]; ``MeshWrap`` in native/mesh.h."""

    REPEAT = 0
    CLAMP = 1
    MIRROR = 2


@dataclass(frozen=True)
class Texture:
    """An image on a surface; its first row is at v = 0.

    Attributes:
        pixels: [h, w, 4] uint8, straight alpha.
        srgb: whether colours are sRGB; data (normals, roughness) are linear.
        wrap: in u and v.
        nearest: whether magnified texels are squares.
    """

    pixels: Bytes
    srgb: bool = True
    wrap: tuple[Wrap, Wrap] = (Wrap.REPEAT, Wrap.REPEAT)
    nearest: bool = False


@dataclass(frozen=True)
class Material:
    """Material of a face; colours are linear, textures are indices into ``Surface.textures``, -1 for none.

    Attributes:
        base: colour and alpha, times ``texture``.
        emissive: radiance, times ``emissive_texture``.
        alpha_mode: 0 opaque, 1 mask (visible where alpha >= ``cutoff``), 2 blend (alpha is opacity).
        metallic, roughness: times blue and green of ``surface_texture``.
        specular: reflectance at normal incidence where it is not metallic; 0.04 for an index of refraction of 1.5.
        normal_texture, normal_scale: normal map, green up the image.
        occlusion_texture, occlusion: how much red darkens the light of the sky.
        uv_sets: the set of texture coordinates of the base, emissive, surface, normal and occlusion texture.
    """

    base: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    emissive: tuple[float, float, float] = (0.0, 0.0, 0.0)
    texture: int = -1
    emissive_texture: int = -1
    alpha_mode: int = 0
    cutoff: float = 0.5
    two_sided: bool = False
    unlit: bool = False
    metallic: float = 0.0
    roughness: float = 1.0
    specular: tuple[float, float, float] = (0.04, 0.04, 0.04)
    surface_texture: int = -1
    normal_texture: int = -1
    normal_scale: float = 1.0
    occlusion_texture: int = -1
    occlusion: float = 1.0
    uv_sets: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)


@dataclass(frozen=True)
class Part:
    """A part of a surface that moves as one, for part images.

    Attributes:
        node: index of the node that carries the mesh.
        primitive: index of the primitive in its mesh.
        joint: index of the joint's node that moves it most; the node itself if it is rigid.
    """

    node: int
    primitive: int
    joint: int


@dataclass(frozen=True)
class Surface:
    """The constant part of a mesh: topology and appearance.

    Attributes:
        faces: [M, 3] vertex indices. face_materials: [M].
        uvs: [P, 2K] K sets of texture coordinates. colors: [P, 4] linear RGBA.
        materials, textures: tables.
        face_parts: [M] index into ``parts``; all faces are part 0 if None.
    """

    faces: Ints
    face_materials: Ints
    uvs: Floats
    colors: Floats
    materials: tuple[Material, ...]
    textures: tuple[Texture, ...] = ()
    face_parts: Ints | None = None
    parts: tuple[Part, ...] = ()


class MovingMesh(Protocol):
    """A mesh with P vertices that can be posed at any time."""

    @property
    def name(self) -> str:
        """Name for messages."""
        ...

    @property
    def surface(self) -> Surface:
        """Topology and appearance."""
        ...

    @property
    def duration(self) -> float:
        """Duration of the motion in seconds."""
        ...

    def vertices(self, seconds: float) -> tuple[Floats, Floats]:
        """Return positions [P, 3] and unit normals [P, 3] at a time, +Y up."""
        ...


def vertex_normals(positions: Floats, faces: Ints) -> Floats:
    """Compute area-weighted vertex normals [P, 3]."""
    a, b, c = (positions[faces[:, k]] for k in range(3))
    face = np.cross(b - a, c - a)
    normals = np.zeros(positions.shape, np.float64)
    for k in range(3):
        for axis in range(3):
            normals[:, axis] += np.bincount(faces[:, k], face[:, axis], len(positions))
    return unit(normals)


def unit(vectors: NDArray[np.floating]) -> Floats:
    """Normalise vectors [..., 3]; zero stays zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.maximum(length, 1e-12)).astype(np.float32)


def to_linear(srgb: NDArray[np.floating]) -> Floats:
    """Convert sRGB values in [0, 1] to linear light."""
    srgb = np.asarray(srgb, np.float32)
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(np.float32)


def to_srgb(linear: NDArray[np.floating]) -> Floats:
    """Convert linear light in [0, 1] to sRGB values."""
    linear = np.asarray(linear, np.float32).clip(0, None)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055).astype(np.float32)
