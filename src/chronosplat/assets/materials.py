"""Conversion of glTF materials and textures for the rasteriser."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from PIL import Image

from chronosplat.assets.gltf import Array, GltfFile
from chronosplat.assets.mesh import Floats, Material, to_linear

TEXTURE_MAX = 1024  # pixels; larger textures are halved until they fit, because renderings are small
UV_MAX = 1e6  # larger texture coordinates have no fraction left in float32


class TextureTable:
    """Decodes each image once and gives it an index."""

    def __init__(self, file: GltfFile) -> None:
        self.file = file
        self.textures: list[Floats] = []
        self._index: dict[int, int] = {}

    def add(self, reference: dict[str, Any] | None) -> int:
        """Return the table index of a texture reference, -1 for none."""
        if not reference:
            return -1
        texture = self.file.items("textures")[reference["index"]]
        source = texture.get("source", texture.get("extensions", {}).get("EXT_texture_webp", {}).get("source"))
        if source is None:
            return -1
        if source not in self._index:
            image = self.file.image(source)
            while max(image.size) > TEXTURE_MAX:
                image = image.resize((max(1, image.width // 2), max(1, image.height // 2)), Image.Resampling.BOX)
            pixels = np.asarray(image, np.float32) / 255
            self._index[source] = len(self.textures)
            self.textures.append(np.concatenate([to_linear(pixels[..., :3]), pixels[..., 3:]], -1).astype(np.float32))
        return self._index[source]


def base_texture(material: dict[str, Any]) -> dict[str, Any] | None:
    """Return the reference to the base colour texture (metallic-roughness or specular-glossiness)."""
    glossy = material.get("extensions", {}).get("KHR_materials_pbrSpecularGlossiness", {})
    return material.get("pbrMetallicRoughness", {}).get("baseColorTexture") or glossy.get("diffuseTexture")


def read_material(material: dict[str, Any], table: TextureTable) -> Material:
    """Convert a material. Shading is Lambertian, so metalness, roughness and normal maps are ignored."""
    extensions = material.get("extensions", {})
    glossy = extensions.get("KHR_materials_pbrSpecularGlossiness", {})
    base = material.get("pbrMetallicRoughness", {}).get("baseColorFactor") or glossy.get("diffuseFactor") or (1, 1, 1, 1)
    strength = extensions.get("KHR_materials_emissive_strength", {}).get("emissiveStrength", 1.0)
    r, g, b = (strength * float(x) for x in material.get("emissiveFactor", (0, 0, 0)))
    return Material(
        base=(float(base[0]), float(base[1]), float(base[2]), float(base[3])),
        emissive=(r, g, b),
        texture=table.add(base_texture(material)),
        emissive_texture=table.add(material.get("emissiveTexture")),
        alpha_mode={"OPAQUE": 0, "MASK": 1, "BLEND": 2}.get(material.get("alphaMode", "OPAQUE"), 0),
        cutoff=float(material.get("alphaCutoff", 0.5)),
        two_sided=bool(material.get("doubleSided", False)),
        unlit="KHR_materials_unlit" in extensions,
    )


def texture_coordinates(file: GltfFile, attributes: dict[str, int], reference: dict[str, Any] | None, count: int) -> Array:
    """Return texture coordinates [count, 2] after KHR_texture_transform; values that are not finite become 0."""
    transform = (reference or {}).get("extensions", {}).get("KHR_texture_transform", {})
    channel = transform.get("texCoord", (reference or {}).get("texCoord", 0))
    if reference is None or f"TEXCOORD_{channel}" not in attributes:
        return np.zeros((count, 2))
    uv = file.attribute(attributes, f"TEXCOORD_{channel}", count)
    with np.errstate(all="ignore"):  # values that are not finite are replaced below
        if transform:
            angle = float(transform.get("rotation", 0.0))
            c, s = (math.cos(angle), math.sin(angle)) if math.isfinite(angle) else (1.0, 0.0)
            turn = np.array([[c, s], [-s, c]])
            uv = (uv * transform.get("scale", (1, 1))) @ turn.T + transform.get("offset", (0, 0))
        return np.where(np.abs(uv) <= UV_MAX, uv, 0.0)  # also replaces NaN
