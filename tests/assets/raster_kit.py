"""Scenes and images that the rasteriser tests share."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from chronosplat.assets.lights import Lights
from chronosplat.assets.mesh import Floats, Material, Surface, Texture, to_linear, unit, vertex_normals
from chronosplat.assets.prepared import PreparedSurface, encode
from chronosplat.assets.raster import Shading, rasterize_mesh
from chronosplat.cameras import Cameras
from tests.assets.gltf_maker import SQUARE_FACES

Array = NDArray[np.floating]


Image = NDArray[np.uint8]


SIZE = 16


DISTANCE = 10.0


UNLIT = Material(unlit=True)


FACES = SQUARE_FACES.reshape(-1, 3).astype(np.int32)


def facing_camera(size: int = SIZE) -> Cameras:
    """A camera on +z that looks down -z: at z = 0 one unit is one pixel, and the origin is the image's centre."""
    viewmat = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    viewmat[2, 3] = DISTANCE
    K = torch.tensor([[DISTANCE, 0, size / 2], [0, DISTANCE, size / 2], [0, 0, 1.0]])
    return Cameras(viewmat[None], K[None], size, size)


def at_pixels(pixels: ArrayLike, z: float = 0.0, size: int = SIZE) -> Floats:
    """World points [n, 3] at a depth that appear at pixel positions [n, 2]."""
    flat = (np.asarray(pixels, float) - size / 2) * (1, -1) * (DISTANCE - z) / DISTANCE
    return np.concatenate([flat, np.full((len(flat), 1), z)], 1).astype(np.float32)


def box(left: float, top: float, right: float, bottom: float) -> Array:
    """Corners of a rectangle in pixels, counter-clockwise as seen: bottom left first, as in SQUARE."""
    return np.array([(left, bottom), (right, bottom), (right, top), (left, top)])


def draw(
    positions: Floats,
    faces: ArrayLike = FACES,
    material: Material | tuple[Material, ...] = UNLIT,
    colors: ArrayLike = (1, 1, 1, 1),
    face_materials: ArrayLike = 0,
    samples: int = 4,
    lights: Lights | None = None,
    cameras: Cameras | None = None,
    textures: tuple[Texture, ...] = (),
    uvs: ArrayLike = (0, 0, 0, 0),
    shading: Shading = "lambert",
) -> Image:
    """The image [H, W, 4] of a mesh from the first camera."""
    count, table = len(positions), material if isinstance(material, tuple) else (material,)
    index = np.asarray(faces, np.int32)
    surface = Surface(
        faces=index,
        face_materials=np.broadcast_to(np.asarray(face_materials, np.int32), len(index)),
        uvs=np.broadcast_to(np.asarray(uvs, np.float32), (count, np.shape(uvs)[-1])),
        colors=np.broadcast_to(np.asarray(colors, np.float32), (count, 4)),
        materials=table,
        textures=textures,
    )
    normals = vertex_normals(positions, index)
    return rasterize_mesh(PreparedSurface(surface), positions, normals, cameras or facing_camera(), lights, samples, shading=shading)[0]


def two(first: Floats, second: Floats) -> tuple[Floats, NDArray[np.integer]]:
    """Two rectangles as one mesh."""
    return np.concatenate([first, second]), np.concatenate([FACES, FACES + 4])


def share(low: float, high: float, samples: int) -> Array:
    """[SIZE] the number of samples of each pixel column (or row) between two edges."""
    at = (np.arange(SIZE * samples) + 0.5) / samples
    return ((at >= low) & (at <= high)).reshape(SIZE, samples).sum(1)


RED, GREEN = (1, 0, 0, 1), (0, 1, 0, 1)


def linear_texture(values: ArrayLike) -> Texture:
    """A texture of linear colours [h, w, 3 or 4]."""
    values = np.asarray(values, np.float32)
    alpha = values[..., 3:] if values.shape[-1] == 4 else np.ones_like(values[..., :1])
    return Texture(np.concatenate([encode(values[..., :3]), np.rint(255 * alpha).astype(np.uint8)], -1))


def ramp_texture() -> Texture:
    """Four grey texels in a row."""
    return linear_texture(np.array([0.0, 0.2, 0.6, 1.0])[None, :, None].repeat(3, -1))


def sun(*direction: float, energy: float = 0.6, ambient: float = 0.1) -> Lights:
    """One light."""
    return Lights(unit(np.array([direction])), np.array([energy], np.float32), ambient)


def lit(lights: Lights, material: Material = Material(), faces: ArrayLike = FACES) -> float:
    """The linear red of a lit square that faces the camera."""
    return float(to_linear(np.array([draw(at_pixels(box(4, 4, 8, 8)), faces, material, lights=lights)[5, 5, 0] / 255]))[0])
