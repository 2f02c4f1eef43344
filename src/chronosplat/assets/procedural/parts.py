"""Building blocks of procedural objects: primitives, colours, and moving meshes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from chronosplat.assets.mesh import Floats, Material, Surface, vertex_normals

Array = NDArray[np.floating]
Ints = NDArray[np.integer]
Rng = np.random.Generator


@dataclass(frozen=True)
class ProceduralMesh:
    """A mesh whose positions are a function of time."""

    name: str
    surface: Surface
    duration: float
    positions: Callable[[float], Array]

    def vertices(self, seconds: float) -> tuple[Floats, Floats]:
        """Return positions [P, 3] and unit normals [P, 3] at a time, +Y up."""
        placed = self.positions(seconds).astype(np.float32)
        return placed, vertex_normals(placed, self.surface.faces)


def assemble(name: str, faces: Ints, colors: Array, duration: float, positions: Callable[[float], Array]) -> ProceduralMesh:
    """Build a mesh of one two-sided material with linear vertex ``colors`` [P, 3]."""
    count = len(colors)
    surface = Surface(
        faces=faces.astype(np.int32),
        face_materials=np.zeros(len(faces), np.int32),
        uvs=np.zeros((count, 4), np.float32),
        colors=np.concatenate([colors, np.ones((count, 1))], 1).astype(np.float32),
        materials=(Material(two_sided=True),),
    )
    return ProceduralMesh(name, surface, duration, positions)


@cache
def icosphere(levels: int) -> tuple[Array, Ints]:
    """Subdivide an icosahedron ``levels`` times; returns vertices on the unit sphere, and faces."""
    g = (1 + 5**0.5) / 2
    corners = [(-1, g, 0), (1, g, 0), (-1, -g, 0), (1, -g, 0), (0, -1, g), (0, 1, g), (0, -1, -g), (0, 1, -g)]
    corners += [(g, 0, -1), (g, 0, 1), (-g, 0, -1), (-g, 0, 1)]
    faces = [(0, 11, 5), (0, 5, 1), (0, 1, 7), (0, 7, 10), (0, 10, 11), (1, 5, 9), (5, 11, 4), (11, 10, 2), (10, 7, 6), (7, 1, 8)]
    faces += [(3, 9, 4), (3, 4, 2), (3, 2, 6), (3, 6, 8), (3, 8, 9), (4, 9, 5), (2, 4, 11), (6, 2, 10), (8, 6, 7), (9, 8, 1)]
    points = [np.array(c) / np.linalg.norm(c) for c in corners]
    for _ in range(levels):
        middles: dict[tuple[int, int], int] = {}

        def middle(a: int, b: int, middles: dict[tuple[int, int], int] = middles) -> int:
            key = (min(a, b), max(a, b))
            if key not in middles:
                between = points[a] + points[b]
                points.append(between / np.linalg.norm(between))
                middles[key] = len(points) - 1
            return middles[key]

        finer = []
        for a, b, c in faces:
            x, y, z = middle(a, b), middle(b, c), middle(c, a)
            finer += [(a, x, z), (b, y, x), (c, z, y), (x, y, z)]
        faces = finer
    return np.array(points), np.array(faces)


def rotation(axis: Array, angle: float) -> Array:
    """Return the rotation matrix [3, 3] about an axis (Rodrigues); angle in radians."""
    x, y, z = np.asarray(axis) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def capsule(start: Array, end: Array, radius_start: float, radius_end: float, levels: int = 3) -> tuple[Array, Ints]:
    """Return vertices and faces of a tapered capsule between two points."""
    sphere, faces = icosphere(levels)
    along = end - start
    length = float(np.linalg.norm(along)) + 1e-9
    z = along / length
    x = np.cross(z, [0.3, 0.9, 0.2])
    x /= np.linalg.norm(x)
    y = np.cross(z, x)
    share = np.clip(sphere[:, 2] * 1.2, -1, 1) * 0.5 + 0.5
    radius = radius_start + (radius_end - radius_start) * share
    cap = np.where(np.abs(sphere[:, 2]) > 0.833, np.sign(sphere[:, 2]) * (np.abs(sphere[:, 2]) - 0.833) / 0.167, 0) * radius * 0.6
    points = start + np.outer(share * length + cap, z) + (sphere[:, :1] * x + sphere[:, 1:2] * y) * radius[:, None]
    return points, faces


def prism(outline: Array, half_height: float) -> tuple[Array, Ints]:
    """Return a prism over a star-shaped outline [n, 2] in the xy plane, with flat shading (no shared vertices)."""
    n = len(outline)
    bottom, top = np.c_[outline, np.full(n, -half_height)], np.c_[outline, np.full(n, half_height)]
    points = np.concatenate([bottom, top, [[0, 0, -half_height], [0, 0, half_height]]])
    i = np.arange(n)
    j, low, high = (i + 1) % n, np.full(n, 2 * n), np.full(n, 2 * n + 1)
    faces = np.concatenate([np.c_[i, j, j + n], np.c_[i, j + n, i + n], np.c_[j, i, low], np.c_[i + n, j + n, high]])
    separate = points[faces].reshape(-1, 3)
    return separate, np.arange(len(separate)).reshape(-1, 3)


def box(half: Array, cells: int = 4) -> tuple[Array, Ints]:
    """Return a box with flat faces, each a grid of cells so that vertex colours can form patterns."""
    u, v = np.meshgrid(np.linspace(-1, 1, cells + 1), np.linspace(-1, 1, cells + 1))
    grid = np.c_[u.ravel(), v.ravel(), np.ones(u.size)]
    cell = grid_faces(cells + 1, cells + 1)
    sides, faces = [], []
    for axis in range(3):
        for sign in (-1, 1):
            side = np.roll(grid * [1, sign, sign], axis, axis=1)
            faces.append(cell + len(sides) * u.size)
            sides.append(side)
    return np.concatenate(sides) * half, np.concatenate(faces)


def grid_faces(rows: int, columns: int) -> Ints:
    """Return the triangles of a grid of rows x columns points."""
    i = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = i[:-1, :-1].ravel(), i[:-1, 1:].ravel(), i[1:, 1:].ravel(), i[1:, :-1].ravel()
    return np.concatenate([np.c_[a, b, c], np.c_[a, c, d]])


def noise(points: Array) -> Array:
    """Evaluate smooth value noise in [0, 1] at points [P, 3]."""
    cell = np.floor(points).astype(np.int64)
    f = points - cell
    f = f * f * (3 - 2 * f)
    total = np.zeros(len(points))
    for corner in np.ndindex(2, 2, 2):
        h = (cell + corner) * np.array([73856093, 19349663, 83492791])
        h = h[:, 0] ^ h[:, 1] ^ h[:, 2]
        h = (h ^ (h >> 13)) * 1274126177
        weight = np.where(np.array(corner) == 1, f, 1 - f).prod(1)
        total += ((h ^ (h >> 16)) & 0xFFFF) / 65535 * weight
    return total


def paint(points: Array, rng: Rng) -> Array:
    """Return linear colours [P, 3] of a random pattern in rest space, with one off-centre mark that reveals orientation."""
    palette = rng.uniform(0.02, 0.95, (4, 3)) ** rng.uniform(0.8, 2.2)
    scale = rng.uniform(3, 14)
    turned = points @ rotation(rng.normal(size=3), rng.uniform(0, 3)).T
    kind = rng.integers(6)
    if kind == 0:  # checker
        mix = np.floor(turned * scale).sum(1) % 2
    elif kind == 1:  # wavy stripes
        mix = (np.sin(turned[:, 0] * scale * 2 + 3 * noise(turned * 4)) > 0) * 1.0
    elif kind == 2:  # clouds
        mix = np.clip(noise(turned * scale) * 2 - 0.5, 0, 1)
    elif kind == 3:  # dots
        mix = (np.linalg.norm(turned[:, None] - rng.uniform(-0.5, 0.5, (24, 3)), axis=2).min(1) < rng.uniform(0.05, 0.15)) * 1.0
    elif kind == 4:  # gradient
        mix = np.clip(turned[:, 1] * rng.uniform(0.8, 2) + 0.5, 0, 1)
    else:  # Voronoi cells
        cells = np.linalg.norm(turned[:, None] - rng.uniform(-0.5, 0.5, (20, 3)), axis=2).argmin(1)
        return palette[cells % 4]
    colors = palette[0] * (1 - mix[:, None]) + palette[1] * mix[:, None]
    spot = points[rng.integers(len(points))]
    marked = np.linalg.norm(points - spot, axis=1) < rng.uniform(0.05, 0.2)
    colors[marked] = palette[2]
    return colors * (0.8 + 0.2 * noise(points * 9)[:, None])
