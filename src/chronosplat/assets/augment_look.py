"""Augmentation of appearance: random textures fixed to the surface, and changed colours."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from chronosplat.assets.derived import Derived
from chronosplat.assets.mesh import Floats, Material, MovingMesh, Surface, Texture, to_linear, to_srgb
from chronosplat.assets.procedural.patterns import pattern

PATTERNS = (1, 4)  # how many an object has
REPEATS = (0.7, 3.0)  # of a pattern over the object
TURN, SATURATION, BRIGHTNESS = math.pi, (0.5, 1.5), (0.6, 1.3)
ACROSS = np.array([(1, 2), (2, 0), (0, 1)])  # the axes that a projection along x, y or z keeps


def retexture(mesh: MovingMesh, seed: int) -> MovingMesh:
    """Replace the base colour of opaque materials by random textures, projected onto the rest pose along its axes.

    The textures move with the surface. Materials with transparency stay, because their alpha is part of the shape.
    """
    rng, surface = np.random.default_rng([seed, 1]), mesh.surface
    rest = mesh.vertices(0.0)[0].astype(np.float64)
    span = max(float(np.ptp(rest, 0).max()), 1e-9)
    axes = _dominant_axes(rest, surface)
    changed = np.array([material.alpha_mode == 0 for material in surface.materials])
    axes[~changed[surface.face_materials]] = 3  # these corners keep their own vertices
    keys, corners = np.unique(surface.faces * 4 + axes[:, None], return_inverse=True)
    source, axis = keys // 4, keys % 4
    count = int(rng.integers(PATTERNS[0], PATTERNS[1]))
    first, sets = len(surface.textures), surface.uvs.shape[1] // 2
    projected = np.take_along_axis((rest[source] - rest.min(0)) / span, ACROSS[axis % 3], 1)
    uvs = np.concatenate([surface.uvs[source], projected * rng.uniform(*REPEATS) + rng.uniform(0, 1, 2)], 1)
    colors = surface.colors[source].copy()
    colors[axis < 3, :3] = 1
    textures = (*surface.textures, *(pattern(rng) for _ in range(count)))
    choice = rng.integers(count, size=len(surface.materials))
    materials = tuple(
        _textured(material, first + int(k), sets) if is_changed else material
        for material, k, is_changed in zip(surface.materials, choice, changed, strict=True)
    )
    look = replace(
        surface,
        faces=corners.reshape(-1, 3).astype(np.int32),
        uvs=uvs.astype(np.float32),
        colors=colors,
        materials=materials,
        textures=textures,
    )

    def vertices(seconds: float) -> tuple[Floats, Floats]:
        positions, normals = mesh.vertices(seconds)
        return positions[source], normals[source]

    return Derived(mesh.name, look, mesh.duration, vertices)


def _textured(material: Material, texture: int, uv_set: int) -> Material:
    sets = (uv_set, *material.uv_sets[1:])
    return replace(material, base=(1.0, 1.0, 1.0, 1.0), texture=texture, uv_sets=sets)


def _dominant_axes(points: np.ndarray, surface: Surface) -> np.ndarray:
    """Return for each face [M] the axis that its normal is nearest to."""
    a, b, c = (points[surface.faces[:, k]] for k in range(3))
    return np.abs(np.cross(b - a, c - a)).argmax(1)


def recolour(mesh: MovingMesh, seed: int) -> MovingMesh:
    """Turn all hues by one angle, and change saturation and brightness; greys stay grey, and alpha and light sources stay."""
    rng = np.random.default_rng([seed, 2])
    matrix = color_matrix(float(rng.uniform(-TURN, TURN)), float(rng.uniform(*SATURATION)), float(rng.uniform(*BRIGHTNESS)))
    surface = mesh.surface
    shown = {material.texture for material in surface.materials}
    # a product of colours is turned once: in the texture, and where there is none in the vertices and the material
    bare = np.zeros(len(surface.colors), bool)
    untextured = np.array([material.texture < 0 for material in surface.materials])
    bare[surface.faces[untextured[surface.face_materials]].ravel()] = True
    colors = surface.colors.copy()
    colors[bare, :3] = _applied(matrix, colors[bare, :3])
    materials = tuple(m if m.texture >= 0 else replace(m, base=(*_triple(matrix, m.base), m.base[3])) for m in surface.materials)
    textures = tuple(_turned(matrix, t) if k in shown else t for k, t in enumerate(surface.textures))
    look = replace(surface, colors=colors, materials=materials, textures=textures)
    return Derived(mesh.name, look, mesh.duration, mesh.vertices)


def color_matrix(turn: float, saturation: float, brightness: float) -> np.ndarray:
    """Return the matrix [3, 3] on linear colours that turns hues about the grey axis by ``turn`` radians."""
    c, s = math.cos(turn), math.sin(turn)
    grey, cross = np.full((3, 3), 1 / 3), np.array([(0, -1, 1), (1, 0, -1), (-1, 1, 0)]) / math.sqrt(3)
    return brightness * (grey + saturation * (c * (np.eye(3) - grey) + s * cross))


def _applied(matrix: np.ndarray, colors: np.ndarray) -> Floats:
    return (colors @ matrix.T).clip(0, 1).astype(np.float32)


def _triple(matrix: np.ndarray, base: tuple[float, ...]) -> tuple[float, float, float]:
    r, g, b = _applied(matrix, np.array(base[:3]))
    return float(r), float(g), float(b)


def _turned(matrix: np.ndarray, texture: Texture) -> Texture:
    values = texture.pixels[..., :3].astype(np.float32) / 255
    turned = _applied(matrix, to_linear(values) if texture.srgb else values)
    pixels = texture.pixels.copy()
    pixels[..., :3] = ((to_srgb(turned) if texture.srgb else turned) * 255 + 0.5).astype(np.uint8)
    return replace(texture, pixels=pixels)
