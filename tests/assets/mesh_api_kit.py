"""Meshes for the native rasteriser, in fenced memory (tests/render/native_kit.py)."""

from __future__ import annotations

from ctypes import byref
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chronosplat.render import native
from tests.render.native_kit import Fenced

COUNTS = ("vertices", "faces", "materials", "textures", "lights", "views")
SIZES = ("width", "height", "samples")
OPTIONS = ("ambient", "near_plane")
FLOATS = ("positions", "normals", "uvs", "colors", "light_directions", "light_energies", "viewmats", "Ks", "velocities")
OUTPUTS = ("rgba", "depth", "motion")
MATERIAL = np.dtype(
    [
        ("base", "f4", 4),
        ("emissive", "f4", 3),
        ("cutoff", "f4"),
        ("texture", "i4"),
        ("emissive_texture", "i4"),
        ("alpha_mode", "i4"),
        ("two_sided", "i4"),
        ("unlit", "i4"),
    ]
)
TEXTURE = np.dtype([("offset", "i8"), ("width", "i4"), ("height", "i4")])
KINDS = {"material": MATERIAL, "texture": TEXTURE, "indices": np.int32, "face_materials": np.int32, "rgba": np.uint8}


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
        } | sizes
        g = np.random.default_rng(seed)
        P, M, V, pixels = n["vertices"], n["faces"], n["views"], n["views"] * n["width"] * n["height"]
        texture, material = np.zeros(n["textures"], TEXTURE), np.zeros(n["materials"], MATERIAL)
        texture["width"], texture["height"] = g.integers(1, 7, n["textures"]), g.integers(1, 7, n["textures"])
        ends = np.cumsum(texture["width"].astype(np.int64) * texture["height"])
        texture["offset"] = np.concatenate([[0], ends[:-1]])[: n["textures"]]
        material["base"], material["cutoff"] = g.uniform(0, 1, (n["materials"], 4)), 0.5
        for name, low, high in (("texture", -1, n["textures"]), ("emissive_texture", -1, n["textures"]), ("alpha_mode", 0, 3)):
            material[name] = g.integers(low, high, n["materials"])
        material["two_sided"], material["unlit"] = g.integers(0, 2, (2, n["materials"]))
        fields: dict[str, NDArray] = {
            "positions": 0.7 * g.normal(size=(P, 3)),
            "normals": g.normal(size=(P, 3)),
            "uvs": 3 * g.normal(size=(P, 4)),
            "colors": g.uniform(0, 1, (P, 4)),
            "indices": g.integers(0, P, (M, 3)),
            "face_materials": g.integers(0, n["materials"], M),
            "material": material,
            "texture": texture,
            "texels": g.uniform(0, 1, (int(ends[-1]) if len(ends) else 0, 4)),
            "light_directions": g.normal(size=(n["lights"], 3)),
            "light_energies": g.uniform(0, 1, n["lights"]),
            "viewmats": np.tile(np.eye(4), (V, 1, 1)),
            "Ks": np.tile(np.diag([8.0, 8.0, 1.0]), (V, 1, 1)),
            "rgba": np.zeros(4 * pixels),
            "depth": np.zeros(pixels),
        }
        fields["viewmats"][:, 2, 3], fields["Ks"][:, :2, 2] = 3, 4
        if motion:
            fields |= {"velocities": g.normal(size=(P, 3)), "motion": np.zeros(3 * pixels)}
        arrays = {name: Fenced.holding(values.astype(KINDS.get(name, np.float32)), fence_behind) for name, values in fields.items()}
        return MeshCase({**n, "ambient": 0.1, "near_plane": 0.02, "texel_count": len(fields["texels"])}, arrays)

    def view(self, name: str) -> NDArray:
        """An array's values, flat."""
        return self.arrays[name].view(KINDS.get(name, np.float32))

    def render(self, threads: int = 1) -> int:
        """Call the library; returns its status."""
        addresses = {name: array.address for name, array in self.arrays.items()}
        whole = {name: int(v) for name, v in self.numbers.items() if name not in OPTIONS}
        return native.library().mesh_render(byref(native.MeshScene(**{**self.numbers, **whole, **addresses})), threads)
