"""The surface of Gaussians at one time: fused depth, marching cubes, the largest parts, fewer triangles, colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chronosplat.meshes.fusion import OPAQUE, TRUNCATION, DepthMaps, box_of, depth_maps, signed_distance
from chronosplat.meshes.mesh import Mesh, required
from chronosplat.meshes.simplify import largest_parts, separated, simplified
from chronosplat.scenes import Gaussians3D
from chronosplat.shapes import InputError

VIEWS = 40  # cameras around the object
PIXELS_PER_VOXEL = 2.0  # in a depth map
GRAZING = 0.2  # cosine between a normal and the direction to a camera under which its colour counts little


@dataclass(frozen=True)
class MeshOptions:
    """Options of meshes."""

    resolution: int = 128
    """Voxels along the longest side of the object; finer grids show finer detail, and take longer by the cube."""
    faces: int = 20_000
    """Triangles of a frame, about; 0 keeps all."""

    def check(self) -> None:
        """Raises: InputError: a value that makes no mesh."""
        if not 16 <= self.resolution <= 512:
            raise InputError(f"resolution: expected 16 to 512 voxels, got {self.resolution}")
        if self.faces != 0 and self.faces < 100:
            raise InputError(f"faces: expected at least 100, or 0 for all, got {self.faces}")


def surface(gaussians: Gaussians3D, options: MeshOptions | None = None) -> Mesh:
    """Extract the surface of Gaussians at one time.

    Returns:
        A mesh in the Gaussians' own coordinates.

    Raises:
        InputError: there is no surface.
        UnavailableError: the extra ``mesh`` is not installed.
    """
    options = options or MeshOptions()
    options.check()
    cubes = required("skimage.measure").marching_cubes
    gaussians = gaussians.map(Tensor.detach).to(dtype=torch.float32).with_world(type(gaussians.world)())
    box = box_of(gaussians)
    voxel = 2 * box.half / (options.resolution - 1)
    maps = depth_maps(gaussians, box, VIEWS, round(options.resolution * PIXELS_PER_VOXEL), voxel)
    volume = signed_distance(maps, box, options.resolution).cpu().numpy()
    if not (volume < 0).any():
        raise InputError("mesh: the Gaussians are too faint or too sparse for a surface at this time")
    vertices, faces, _, _ = cubes(volume, 0.0, allow_degenerate=False)
    center = box.center.cpu().numpy()
    vertices = (vertices / (options.resolution - 1) * 2 - 1) * box.half + center
    mesh = Mesh(vertices.astype(np.float32), faces.astype(np.int64), np.zeros_like(vertices, np.float32))
    mesh = mesh if mesh.volume() > 0 else Mesh(mesh.vertices, mesh.faces[:, ::-1].copy(), mesh.colors)
    mesh = largest_parts(separated(simplified(largest_parts(mesh), options.faces)))
    return Mesh(mesh.vertices, mesh.faces, vertex_colors(mesh, maps, TRUNCATION * voxel))


def vertex_colors(mesh: Mesh, maps: DepthMaps, near: float) -> NDArray[np.float32]:
    """Average the colours of the views that see each vertex, the frontal ones most [P, 3].

    Args:
        near: how far a vertex may lie behind the rendered surface.
    """
    points = torch.from_numpy(mesh.vertices).to(maps.depth.device)
    normals = torch.from_numpy(_normals(mesh)).to(points)
    total, weights = torch.zeros(len(points), 3, device=points.device), torch.full((len(points), 1), 1e-12, device=points.device)
    for frame, center in enumerate(maps.cameras.centers):
        z, depth, alpha, rgb = maps.sample(frame, points)
        facing = torch.nn.functional.cosine_similarity(center - points, normals, dim=1)
        frontal = (facing - GRAZING).clamp_min(0) ** 2 + 1e-6 * (facing > 0)
        hidden = (alpha < OPAQUE) | (z > depth + near)
        weight = torch.where(hidden, 1e-9, frontal + 1e-9)[:, None]  # a vertex that no view sees takes the mean
        total, weights = total + weight * rgb, weights + weight
    return (total / weights).clamp(0, 1).cpu().numpy()


def _normals(mesh: Mesh) -> NDArray[np.float32]:
    """Area-weighted unit normals of the vertices [P, 3]."""
    from chronosplat.assets.mesh import vertex_normals

    return vertex_normals(mesh.vertices, mesh.faces.astype(np.int32))
