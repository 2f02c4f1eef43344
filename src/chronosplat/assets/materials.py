"""Conversion of glTF materials and textures for the rasteriser."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from PIL import Image

from chronosplat.assets.gltf import Array, GltfFile
from chronosplat.assets.mesh import Bytes, Material, Texture, Wrap, to_linear

TEXTURE_MAX = 1024  # pixels; larger textures are halved until they fit, because renderings are small
UV_MAX = 1e6  # larger texture coordinates have no fraction left in float32
WRAPS = {33071: Wrap.CLAMP, 33648: Wrap.MIRROR}  # 10497, the default, repeats
NEAREST = 9728
Reference = dict[str, Any]


class TextureTable:
    """Decodes each image once and gives it an index for each way in which it is used."""

    def __init__(self, file: GltfFile) -> None:
        self.file = file
        self.textures: list[Texture] = []
        self._index: dict[tuple[object, ...], int] = {}
        self._pixels: dict[int, Bytes] = {}

    def add(self, reference: Reference | None, srgb: bool = True, gloss: float | None = None) -> int:
        """Return the table index of a texture reference, -1 for none.

        Args:
            srgb: whether it holds colours; else data.
            gloss: take ``gloss`` times alpha for glossiness, and keep it as roughness in green.
        """
        if not reference:
            return -1
        texture, source = self.file.items("textures")[reference["index"]], self.source(reference)
        if source is None:
            return -1
        sampler = self.file.items("samplers")[texture["sampler"]] if "sampler" in texture else {}
        wrap = (WRAPS.get(sampler.get("wrapS", 0), Wrap.REPEAT), WRAPS.get(sampler.get("wrapT", 0), Wrap.REPEAT))
        nearest = sampler.get("magFilter") == NEAREST
        key = (source, wrap, nearest, srgb, gloss)
        if key not in self._index:
            pixels = self.pixels(source)
            if gloss is not None:
                rough = np.rint(255 - gloss * pixels[..., 3:].astype(np.float32)).clip(0, 255).astype(np.uint8)
                pixels = np.concatenate([rough, rough, np.full_like(rough, 255), np.full_like(rough, 255)], -1)
            self._index[key] = len(self.textures)
            self.textures.append(Texture(pixels, srgb, wrap, nearest))
        return self._index[key]

    def source(self, reference: Reference) -> int | None:
        """Return the index of a texture's image; None where it has none that this reader knows."""
        texture = self.file.items("textures")[reference["index"]]
        others = (texture.get("extensions", {}).get(name, {}).get("source") for name in ("EXT_texture_webp", "KHR_texture_basisu"))
        return texture.get("source", next((source for source in others if source is not None), None))

    def pixels(self, source: int) -> Bytes:
        """Return an image [h, w, 4] of the file, halved until it fits TEXTURE_MAX."""
        if source not in self._pixels:
            image = self.file.image(source)
            while max(image.size) > TEXTURE_MAX:
                image = image.resize((max(1, image.width // 2), max(1, image.height // 2)), Image.Resampling.BOX)
            self._pixels[source] = np.array(image, np.uint8)
        return self._pixels[source]


def glossiness(material: Reference) -> Reference | None:
    """Return the specular-glossiness form of a material; None where it has the metallic-roughness form."""
    return material.get("extensions", {}).get("KHR_materials_pbrSpecularGlossiness")


def references(material: Reference) -> tuple[Reference | None, ...]:
    """Return the references to the base, emissive, surface, normal and occlusion texture, in the order of ``Material.uv_sets``."""
    metallic, glossy = material.get("pbrMetallicRoughness", {}), glossiness(material) or {}
    base = metallic.get("baseColorTexture") or glossy.get("diffuseTexture")
    surface = glossy.get("specularGlossinessTexture") if glossiness(material) is not None else metallic.get("metallicRoughnessTexture")
    return base, material.get("emissiveTexture"), surface, material.get("normalTexture"), material.get("occlusionTexture")


def coordinate_sets(material: Reference) -> tuple[list[Reference | None], tuple[int, ...]]:
    """Return the references that need their own texture coordinates, and for each texture the index of its set."""
    sets: dict[str, int] = {}
    kept: list[Reference | None] = []
    indices = []
    for reference in references(material):
        transform = (reference or {}).get("extensions", {}).get("KHR_texture_transform", {})
        key = json.dumps([(reference or {}).get("texCoord", 0), transform], sort_keys=True)
        if reference is not None and key not in sets:
            sets[key] = len(kept)
            kept.append(reference)
        indices.append(sets[key] if reference is not None else 0)
    return kept or [None], tuple(indices)


def read_material(material: Reference, table: TextureTable) -> Material:
    """Convert a material. Clearcoat, sheen, transmission and the like are ignored."""
    extensions, metallic, glossy = material.get("extensions", {}), material.get("pbrMetallicRoughness", {}), glossiness(material)
    base = metallic.get("baseColorFactor") or (glossy or {}).get("diffuseFactor") or (1, 1, 1, 1)
    strength = extensions.get("KHR_materials_emissive_strength", {}).get("emissiveStrength", 1.0)
    r, g, b = (strength * float(x) for x in material.get("emissiveFactor", (0, 0, 0)))
    color, glow, surface, normal, occlusion = references(material)
    if glossy is None:
        look = {
            "metallic": float(metallic.get("metallicFactor", 1.0)),
            "roughness": float(metallic.get("roughnessFactor", 1.0)),
            "specular": dielectric(extensions),
            "surface_texture": table.add(surface, srgb=False),
        }
    else:
        look = _glossy_look(glossy, surface, table)
    sets = coordinate_sets(material)[1]
    return Material(
        base=(float(base[0]), float(base[1]), float(base[2]), float(base[3])),
        emissive=(r, g, b),
        texture=table.add(color),
        emissive_texture=table.add(glow),
        alpha_mode={"OPAQUE": 0, "MASK": 1, "BLEND": 2}.get(material.get("alphaMode", "OPAQUE"), 0),
        cutoff=float(material.get("alphaCutoff", 0.5)),
        two_sided=bool(material.get("doubleSided", False)),
        unlit="KHR_materials_unlit" in extensions,
        normal_texture=table.add(normal, srgb=False),
        normal_scale=float((normal or {}).get("scale", 1.0)),
        occlusion_texture=table.add(occlusion, srgb=False),
        occlusion=float((occlusion or {}).get("strength", 1.0)),
        uv_sets=(sets[0], sets[1], sets[2], sets[3], sets[4]),
        **look,
    )


def dielectric(extensions: Reference) -> tuple[float, float, float]:
    """Return the reflectance of the non-metallic part (KHR_materials_ior, KHR_materials_specular; textures are ignored)."""
    ior, specular = extensions.get("KHR_materials_ior", {}).get("ior"), extensions.get("KHR_materials_specular", {})
    plain = 0.04 if ior is None else ((float(ior) - 1) / (float(ior) + 1)) ** 2
    level = plain * float(specular.get("specularFactor", 1.0))
    r, g, b = (min(level * float(c), 1.0) for c in specular.get("specularColorFactor", (1, 1, 1)))
    return r, g, b


def _glossy_look(glossy: Reference, reference: Reference | None, table: TextureTable) -> dict[str, Any]:
    """Convert the surface of a specular-glossiness material: the reflectance is the texture's mean, its glossiness is kept."""
    gloss, factor = float(glossy.get("glossinessFactor", 1.0)), glossy.get("specularFactor", (1, 1, 1))
    texture = table.add(reference, srgb=False, gloss=gloss)
    source = table.source(reference) if reference else None
    mean = (1.0, 1.0, 1.0) if source is None else to_linear(table.pixels(source)[..., :3].astype(np.float32) / 255).mean((0, 1))
    r, g, b = (float(f) * float(m) for f, m in zip(factor, mean, strict=True))
    return {"metallic": 0.0, "roughness": 1 - gloss if texture < 0 else 1.0, "specular": (r, g, b), "surface_texture": texture}


def texture_coordinates(file: GltfFile, attributes: dict[str, int], reference: Reference | None, count: int) -> Array:
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
