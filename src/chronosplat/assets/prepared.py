"""Surfaces in the memory layout of the native rasteriser, with mip-mapped textures."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import c_float, c_int32
from functools import cache

import numpy as np
from numpy.typing import NDArray

from chronosplat.assets.mesh import Bytes, Floats, Material, Surface, Texture, to_linear, to_srgb
from chronosplat.render.native import MeshMaterial, MeshTexture
from chronosplat.shapes import InputError


class PreparedSurface:
    """A surface in the memory layout of the native rasteriser, prepared once per mesh.

    Raises:
        InputError: shapes do not fit together, or a texture is empty or not of bytes.
    """

    def __init__(self, surface: Surface) -> None:
        count, faces = len(surface.colors), len(surface.faces)
        check_shape("faces", surface.faces, (faces, 3))
        check_shape("face_materials", surface.face_materials, (faces,))
        check_shape("colors", surface.colors, (count, 4))
        self.uv_sets = max(1, surface.uvs.shape[-1] // 2)
        check_shape("uvs", surface.uvs, (count, 2 * self.uv_sets))
        if surface.face_parts is not None:
            check_shape("face_parts", surface.face_parts, (faces,))
        self.indices = np.ascontiguousarray(surface.faces, np.int32)
        self.face_materials = np.ascontiguousarray(surface.face_materials, np.int32)
        self.face_parts = np.ascontiguousarray(np.zeros(faces) if surface.face_parts is None else surface.face_parts, np.int32)
        self.uvs = np.ascontiguousarray(surface.uvs, np.float32)
        self.colors = np.ascontiguousarray(surface.colors, np.float32)
        self.materials = (MeshMaterial * len(surface.materials))(*(_material(m) for m in surface.materials))
        transparent = {m.texture for m in surface.materials if m.alpha_mode}
        chains = [mip_chain(_checked(i, t), i in transparent) for i, t in enumerate(surface.textures)]
        sizes = [sum(level.shape[0] * level.shape[1] for level in chain) for chain in chains]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(int)
        rows = zip(offsets, surface.textures, chains, strict=False)
        self.textures = (MeshTexture * max(len(sizes), 1))(*(_texture(int(o), t, len(chain)) for o, t, chain in rows))
        texels = [level.reshape(-1, 4) for chain in chains for level in chain] or [np.zeros((1, 4), np.uint8)]
        self.texels = np.ascontiguousarray(np.concatenate(texels))
        self.texture_count = len(sizes)


def check_shape(name: str, array: NDArray, expected: tuple[int, ...]) -> None:
    """Refuse an array of another shape."""
    if array.shape != expected:
        raise InputError(f"{name}: expected shape {list(expected)}, got {list(array.shape)}; give one row per vertex, face or light")


def _checked(index: int, texture: Texture) -> Texture:
    pixels = texture.pixels
    check_shape(f"textures[{index}]", pixels, (*pixels.shape[:2], 4))
    if pixels.dtype != np.uint8:
        raise InputError(f"textures[{index}]: expected uint8, got {pixels.dtype}; scale colours to 0 to 255")
    if not pixels.size:
        raise InputError(f"textures[{index}]: {pixels.shape[1]}x{pixels.shape[0]} pixels are empty; give at least one")
    return texture


def _material(m: Material) -> MeshMaterial:
    textures = (m.texture, m.emissive_texture, m.surface_texture, m.normal_texture, m.occlusion_texture)
    return MeshMaterial(
        (c_float * 4)(*m.base), (c_float * 3)(*m.emissive), (c_float * 3)(*m.specular), m.metallic, m.roughness, m.normal_scale,
        m.occlusion, m.cutoff, (c_int32 * 5)(*textures), (c_int32 * 5)(*m.uv_sets), m.alpha_mode, m.two_sided, m.unlit,
    )  # fmt: skip


def _texture(offset: int, t: Texture, levels: int) -> MeshTexture:
    height, width = t.pixels.shape[:2]
    return MeshTexture(offset, width, height, levels, t.wrap[0], t.wrap[1], t.srgb, t.nearest)


def mip_chain(texture: Texture, weighted: bool = False) -> Sequence[Bytes]:
    """Return a texture and its halves down to 1x1, averaged in linear light.

    Args:
        weighted: weigh colours by alpha, so that the colour of invisible texels does not show at edges.
    """
    color, alpha = texture.pixels[..., :3], texture.pixels[..., 3:].astype(np.float32) / np.float32(255)
    linear = decode(texture.srgb)[color]
    levels = [texture.pixels]
    while max(levels[-1].shape[:2]) > 1:
        mean = halved(alpha)
        linear = _visible_mean(linear, alpha, mean) if weighted else halved(linear)
        alpha = mean
        levels.append(np.concatenate([encode(linear, texture.srgb), np.rint(255 * alpha).astype(np.uint8)], -1))
    return levels


def _visible_mean(linear: Floats, alpha: Floats, mean: Floats) -> Floats:
    """Halve colours weighted by alpha; the weights are equal where all alpha is zero."""
    return np.where(mean > 0, halved(linear * alpha) / np.maximum(mean, np.float32(1e-6)), halved(linear)).astype(np.float32)


def halved(image: Floats) -> Floats:
    """Halve [h, w, C], rounded down, by exact averages over the area of each new pixel."""
    return _half(_half(image, 0), 1)


def _half(image: Floats, axis: int) -> Floats:
    n = image.shape[axis]
    if n == 1:
        return image
    rows = np.moveaxis(image, axis, 0)
    half = n // 2
    if n % 2 == 0:
        return np.moveaxis((rows[::2] + rows[1::2]) / np.float32(2), 0, axis)
    k = np.arange(half, dtype=np.float32).reshape(-1, *[1] * (rows.ndim - 1))  # three texels per pixel: 1 - k/half, 1, (k + 1)/half
    mean = ((half - k) * rows[:-2:2] + half * rows[1:-1:2] + (k + 1) * rows[2::2]) / n
    return np.moveaxis(mean.astype(np.float32), 0, axis)


@cache
def decode(srgb: bool) -> Floats:
    """Linear value of each byte [256]."""
    values = np.arange(256, dtype=np.float32) / np.float32(255)
    return to_linear(values) if srgb else values


@cache
def _codes() -> Bytes:
    """The sRGB byte of each linear value, in 65535 steps."""
    return np.rint(255 * to_srgb(np.arange(65536, dtype=np.float32) / np.float32(65535))).astype(np.uint8)


def encode(linear: Floats, srgb: bool = True) -> Bytes:
    """Round linear values in [0, 1] to bytes."""
    clipped = linear.clip(0, 1)
    return _codes()[np.rint(65535 * clipped).astype(np.uint16)] if srgb else np.rint(255 * clipped).astype(np.uint8)
