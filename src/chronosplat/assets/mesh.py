"""Moving textured meshes, the input of the rasteriser and the data engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


@dataclass(frozen=True)
class Material:
    """Material of a face; colours are linear.

    Attributes:
        alpha_mode: 0 opaque, 1 mask (visible where alpha >= ``cutoff``), 2 blend (alpha becomes coverage).
    """

    base: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    emissive: tuple[float, float, float] = (0.0, 0.0, 0.0)
    texture: int = -1
    emissive_texture: int = -1
    alpha_mode: int = 0
    cutoff: float = 0.5
    two_sided: bool = False
    unlit: bool = False


@dataclass(frozen=True)
class Surface:
    """The constant part of a mesh: topology and appearance.

    Attributes:
        faces: [M, 3] vertex indices. face_materials: [M].
        uvs: [P, 4] texture coordinates of base colour and emission. colors: [P, 4] linear RGBA.
        materials, textures: tables; textures are linear RGBA [h, w, 4].
    """

    faces: Ints
    face_materials: Ints
    uvs: Floats
    colors: Floats
    materials: tuple[Material, ...]
    textures: tuple[Floats, ...] = ()


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
