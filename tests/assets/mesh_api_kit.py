"""Meshes for the native rasteriser, in fenced memory (tests/render/native_kit.py)."""

from __future__ import annotations

from ctypes import byref, c_float
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chronosplat.render import native
from tests.render.native_kit import Fenced

COUNTS = ("vertices", "faces", "materials", "textures", "lights", "views")
SIZES = ("width", "height", "samples", "uv_sets")
OPTIONS = ("sky", "ground", "near_plane")
FLOATS = ("positions", "normals", "uvs", "colors", "light_directions", "light_colors", "viewmats", "Ks", "velocities")
OUTPUTS = ("rgba", "depth", "motion", "surface_normals", "parts")
MATERIAL = np.dtype(
    [
        ("base", "f4", 4),
        ("emissive", "f4", 3),
        ("specular", "f4", 3),
        *[(name, "f4") for name in ("metallic", "roughness", "normal_scale", "occlusion", "cutoff")],
        ("textures", "i4", 5),
        ("uv_sets", "i4", 5),
        *[(name, "i4") for name in ("alpha_mode", "two_sided", "unlit")],
    ]
)
MATERIAL_FLOATS = ("base", "emissive", "specular", "metallic", "roughness", "normal_scale", "occlusion", "cutoff")
TEXTURE = np.dtype(
    [("offset", "i8"), *[(name, "i4") for name in ("width", "height", "levels", "wrap_u", "wrap_v", "srgb", "nearest")]], align=True
)
KINDS = {"material": MATERIAL, "texture": TEXTURE, "rgba": np.uint8, "texels": np.uint8} | dict.fromkeys(
    ("indices", "face_materials", "face_parts", "parts"), np.int32
)


@dataclass
class MeshCase:
    """A scene as the library sees it; tests change ``numbers`` and ``arrays``.

    Attributes:
        numbers: the fields of MeshScene that are not pointers. arrays: the others, null where missing.
    """

    numbers: dict[str, float]
    arrays: dict[str, Fenced]

    @staticmethod
    def make(seed: int = 0, fence_behind: bool = True, motion: bool = True, **sizes: int) -> MeshCase:
        """Random triangles with every kind of material before cameras that look along Z."""
        n = {
            "vertices": 30,
            "faces": 20,
            "materials": 6,
            "textures": 3,
            "lights": 2,
            "views": 2,
            "width": 9,
            "height": 7,
            "samples": 2,
            "uv_sets": 2,
            "shading": seed % 2,
        } | sizes
        g = np.random.default_rng(seed)
        P, M, V, pixels = n["vertices"], n["faces"], n["views"], n["views"] * n["width"] * n["height"]
        texture, material = np.zeros(n["textures"], TEXTURE), np.zeros(n["materials"], MATERIAL)
        texture["width"], texture["height"] = g.integers(1, 7, n["textures"]), g.integers(1, 7, n["textures"])
        texture["levels"] = [g.integers(1, int(max(t["width"], t["height"])).bit_length() + 1) for t in texture]
        for name, high in (("wrap_u", 3), ("wrap_v", 3), ("srgb", 2), ("nearest", 2)):
            texture[name] = g.integers(0, high, n["textures"])
        ends = np.cumsum([texels_of(t) for t in texture], dtype=np.int64)
        texture["offset"] = np.concatenate([[0], ends[:-1]])[: n["textures"]]
        for name in MATERIAL_FLOATS:
            material[name] = g.uniform(0, 1, material[name].shape)
        material["textures"] = g.integers(-1, n["textures"], (n["materials"], 5))
        material["uv_sets"] = g.integers(0, n["uv_sets"], (n["materials"], 5))
        material["alpha_mode"] = g.integers(0, 3, n["materials"])
        material["two_sided"], material["unlit"] = g.integers(0, 2, (2, n["materials"]))
        fields: dict[str, NDArray] = {
            "positions": 0.7 * g.normal(size=(P, 3)),
            "normals": g.normal(size=(P, 3)),
            "uvs": 3 * g.normal(size=(P, 2 * n["uv_sets"])),
            "colors": g.uniform(0, 1, (P, 4)),
            "indices": g.integers(0, P, (M, 3)),
            "face_materials": g.integers(0, n["materials"], M),
            "face_parts": g.integers(0, 4, M),
            "material": material,
            "texture": texture,
            "texels": g.integers(0, 256, (int(ends[-1]) if len(ends) else 0, 4)),
            "light_directions": g.normal(size=(n["lights"], 3)),
            "light_colors": g.uniform(0, 1, (n["lights"], 3)),
            "viewmats": np.tile(np.eye(4), (V, 1, 1)),
            "Ks": np.tile(np.diag([8.0, 8.0, 1.0]), (V, 1, 1)),
            "rgba": np.zeros(4 * pixels),
            "depth": np.zeros(pixels),
            "surface_normals": np.zeros(3 * pixels),
            "parts": np.zeros(pixels),
        }
        fields["viewmats"][:, 2, 3], fields["Ks"][:, :2, 2] = 3, 4
        if motion:
            fields |= {"velocities": g.normal(size=(P, 3)), "motion": np.zeros(3 * pixels)}
        arrays = {name: Fenced.holding(values.astype(KINDS.get(name, np.float32)), fence_behind) for name, values in fields.items()}
        return MeshCase({**n, "sky": 0.2, "ground": 0.1, "near_plane": 0.02, "texel_count": len(fields["texels"])}, arrays)

    def view(self, name: str) -> NDArray:
        """An array's values, flat."""
        return self.arrays[name].view(KINDS.get(name, np.float32))

    def render(self, threads: int = 1) -> int:
        """Call the library; returns its status."""
        addresses = {name: array.address for name, array in self.arrays.items()}
        whole: dict[str, Any] = {name: int(v) for name, v in self.numbers.items() if name not in OPTIONS}
        whole |= {name: (c_float * 3)(*[self.numbers[name]] * 3) for name in ("sky", "ground")}
        return native.library().mesh_render(byref(native.MeshScene(**{**self.numbers, **whole, **addresses})), threads)


def texels_of(texture: NDArray) -> int:
    """The number of texels of a texture with all its levels."""
    width, height = int(texture["width"]), int(texture["height"])
    return sum(max(width >> k, 1) * max(height >> k, 1) for k in range(int(texture["levels"])))
