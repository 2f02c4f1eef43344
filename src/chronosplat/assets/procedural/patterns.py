"""Random textures that tile: checks, stripes, clouds, dots, cells and bricks."""

from __future__ import annotations

import numpy as np

from chronosplat.assets.mesh import Texture, to_srgb
from chronosplat.assets.procedural.parts import Array, Rng

SIZE = 256  # pixels


def pattern(rng: Rng) -> Texture:
    """Return a random opaque texture [256, 256] that repeats without seams, of two to four colours and faint noise."""
    v, u = np.meshgrid((np.arange(SIZE) + 0.5) / SIZE, (np.arange(SIZE) + 0.5) / SIZE, indexing="ij")
    palette = rng.uniform(0.02, 0.95, (4, 3)) ** rng.uniform(0.8, 2.2)
    index = list(KINDS)[rng.integers(len(KINDS))](u, v, rng)
    low = np.floor(index).astype(int) % 4
    share = (index - np.floor(index))[..., None]
    colors = palette[low] * (1 - share) + palette[(low + 1) % 4] * share
    colors = colors * (0.85 + 0.15 * clouds(u, v, rng)[..., None])
    pixels = np.concatenate([to_srgb(colors), np.ones((SIZE, SIZE, 1), np.float32)], -1)
    return Texture((pixels.clip(0, 1) * 255 + 0.5).astype(np.uint8))


def checks(u: Array, v: Array, rng: Rng) -> Array:
    """Squares of two colours."""
    count = 2 * rng.integers(1, 6)
    return (np.floor(u * count) + np.floor(v * count)) % 2


def stripes(u: Array, v: Array, rng: Rng) -> Array:
    """Wavy or straight stripes of three colours, along any lattice direction."""
    across = rng.integers(1, 7) * u + rng.integers(-2, 3) * v
    return np.floor((across + rng.uniform(0, 0.3) * np.sin(2 * np.pi * v * rng.integers(1, 4))) * 3) % 3


def clouds(u: Array, v: Array, rng: Rng) -> Array:
    """Smooth noise in [0, 1]: three octaves of values on a periodic grid."""
    total, base = np.zeros_like(u), int(rng.integers(3, 7))
    for octave in range(3):
        cells = base << octave
        grid = rng.uniform(size=(cells, cells))
        x, y = u * cells, v * cells
        i, j = np.floor(x).astype(int), np.floor(y).astype(int)
        a, b = (f * f * (3 - 2 * f) for f in (x - i, y - j))
        corner = lambda di, dj, grid=grid, i=i, j=j, cells=cells: grid[(j + dj) % cells, (i + di) % cells]
        lower, upper = corner(0, 0) * (1 - a) + corner(1, 0) * a, corner(0, 1) * (1 - a) + corner(1, 1) * a
        total += (lower * (1 - b) + upper * b) * 0.5**octave
    return total / 1.75


def dots(u: Array, v: Array, rng: Rng) -> Array:
    """Round spots of up to three colours on a ground."""
    distance, nearest = _cells(u, v, rng, int(rng.integers(8, 40)))
    return np.where(distance < rng.uniform(0.02, 0.07), 1 + nearest % 3, 0)


def cells(u: Array, v: Array, rng: Rng) -> Array:
    """Voronoi cells of four colours."""
    return _cells(u, v, rng, int(rng.integers(8, 60)))[1] % 4


def bricks(u: Array, v: Array, rng: Rng) -> Array:
    """Bricks of two colours with joints between them."""
    rows, joint = 2 * int(rng.integers(2, 7)), rng.uniform(0.05, 0.15)
    row = np.floor(v * rows)
    x, y = (u * rows / 2 + row % 2 / 2) % 1, v * rows % 1
    return np.where((x < joint / 2) | (y < joint), 3, row % 2)


def _cells(u: Array, v: Array, rng: Rng, count: int) -> tuple[Array, Array]:
    """Return the distance to the nearest of random points on the torus, and its number."""
    best, nearest = np.full(u.shape, np.inf), np.zeros(u.shape)
    for k, (x, y) in enumerate(rng.uniform(size=(count, 2))):
        distance = np.hypot((u - x + 0.5) % 1 - 0.5, (v - y + 0.5) % 1 - 0.5)
        closer = distance < best
        best[closer], nearest[closer] = distance[closer], k
    return best, nearest


KINDS = (checks, stripes, clouds, dots, cells, bricks)
