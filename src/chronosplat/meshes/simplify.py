"""Fewer parts and fewer triangles, and a surface that stays closed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chronosplat.meshes.mesh import Ints, Mesh, required

PART = 0.02  # smallest part that is kept, as a fraction of the largest part's area
APART = 0.01  # how far vertices of sheets that touch are moved inwards, as a fraction of the way to their neighbours


def largest_parts(mesh: Mesh) -> Mesh:
    """Keep connected parts that are not small against the largest one."""
    parts = _connected(len(mesh.vertices), mesh.faces.ravel(), np.roll(mesh.faces, -1, 1).ravel())[mesh.faces[:, 0]]
    areas = np.bincount(parts, mesh.areas())
    return mesh.compacted(mesh.faces[areas[parts] >= PART * areas.max()])


def _connected(count: int, starts: Ints, ends: Ints) -> NDArray[np.int32]:
    """The number of the connected part of each node [P] of a graph with these edges."""
    sparse = required("scipy.sparse")
    graph = sparse.coo_matrix((np.ones(len(starts), bool), (starts, ends)), (count, count))
    return required("scipy.sparse.csgraph").connected_components(graph, directed=False)[1]


def simplified(mesh: Mesh, faces: int) -> Mesh:
    """Merge edges until about ``faces`` triangles are left; 0: no merging."""
    if faces == 0 or len(mesh.faces) <= faces:
        return mesh
    simplify = required("fast_simplification").simplify
    vertices, triangles = simplify(mesh.vertices, mesh.faces.astype(np.int32), target_count=faces)
    fewer = Mesh(vertices.astype(np.float32), triangles.astype(np.int64), np.zeros_like(vertices, np.float32))
    return fewer.compacted(fewer.faces)


def separated(mesh: Mesh) -> Mesh:
    """Part sheets that share an edge, as merging edges makes them: every edge then joins two triangles.

    Around an edge of four or more triangles there are as many wedges of solid as of air. The two triangles that bound a wedge of
    solid stay joined. All wedges but one get a vertex of their own in the middle of the edge, a little inside.
    A mesh with a hole is returned as it is.
    """
    vertices, faces = mesh.vertices, _without_fins(mesh.faces)
    while True:
        starts, ends = faces.ravel(), np.roll(faces, -1, 1).ravel()
        size = len(vertices)
        forth, back = np.sort((starts * size + ends)[starts < ends]), np.sort((ends * size + starts)[starts > ends])
        if not np.array_equal(forth, back):
            return mesh
        shared = forth[1:][forth[1:] == forth[:-1]]
        if len(shared) == 0:
            return Mesh(vertices, faces, np.zeros_like(vertices)).compacted(faces)
        start, end = divmod(int(shared[0]), size)
        pair = _wedges(vertices, faces, start, end)[0]
        middle = (vertices[start] + vertices[end]) / 2
        middle += APART * (vertices[faces[pair].sum(1) - start - end].mean(0) - middle)
        halves = [np.where(faces[pair] == moved, size, faces[pair]) for moved in (start, end)]
        vertices = np.concatenate([vertices, middle[None]])
        faces = np.concatenate([np.delete(faces, pair, 0), *halves])


def _without_fins(faces: Ints) -> Ints:
    """Drop pairs of triangles back to back."""
    _, number, count = np.unique(np.sort(faces, 1), axis=0, return_inverse=True, return_counts=True)
    return faces[count[number.ravel()] == 1]


def _wedges(vertices: NDArray[np.float32], faces: Ints, start: int, end: int) -> list[list[int]]:
    """Pair the triangles around an edge that bound a wedge of solid."""
    around = np.flatnonzero(((faces == start) | (faces == end)).sum(1) == 2)
    forth = ((faces[around] == start) & (np.roll(faces[around], -1, 1) == end)).any(1)
    tips = vertices[faces[around].sum(1) - start - end].astype(np.float64) - vertices[start]
    axis = vertices[end].astype(np.float64) - vertices[start]
    side = np.cross(axis, np.eye(3)[np.abs(axis).argmin()])
    order = np.argsort(np.arctan2(tips @ np.cross(axis, side) / max(np.linalg.norm(axis), 1e-30), tips @ side), kind="stable")
    # turning about the edge, solid begins at a triangle that runs back, and ends at one that runs forth
    depth = np.cumsum(np.where(forth[order], -1, 1))
    pairs, begun = [], []
    for k in np.roll(order, -1 - int(depth.argmin())):
        if forth[k]:
            pairs.append([int(around[begun.pop()]), int(around[k])])
        else:
            begun.append(k)
    return pairs
