"""Light rigs for meshes: suns and a sky, fixed or random."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from chronosplat.assets.mesh import Floats, unit

Color = tuple[float, float, float]
PROBES = 256  # directions in which the brightest surface is searched


# L4GM's four suns (key, fill, rim, bottom) in +Y-up axes; Blender's sun energy divided by pi is the Lambert factor. The rim's
# angles in L4GM's script, (-45, 0, -225) degrees, put it where the key is; here it stands behind, as a rim does.
L4GM_DIRECTIONS = unit(np.array([(-0.5, 0.7071, 0.5), (0.5, 0.7071, -0.5), (-0.5, 0.7071, -0.5), (0.0, -1.0, 0.0)]))
L4GM_ENERGIES = np.array([4, 3, 4, 2], np.float32) / np.float32(np.pi)


@dataclass(frozen=True)
class Lights:
    """Suns and a sky. The default is L4GM's rig (``blender_scripts/render_objaverse.py``) at its mean strength.

    Attributes:
        directions: [L, 3] towards the suns, unit length.
        energies: [L] or [L, 3] radiance of a white diffuse surface that faces the sun (irradiance / pi).
        ambient: radiance from all sides.
        sky, ground: further radiance from above and from below, linear in between.
    """

    directions: Floats = field(default_factory=lambda: L4GM_DIRECTIONS)
    energies: Floats = field(default_factory=lambda: L4GM_ENERGIES)
    ambient: float = 0.05
    sky: Color = (0.0, 0.0, 0.0)
    ground: Color = (0.0, 0.0, 0.0)

    @property
    def colors(self) -> Floats:
        """``energies`` as [L, 3]."""
        energies = np.asarray(self.energies, np.float32)
        return np.ascontiguousarray(np.broadcast_to(energies[:, None] if energies.ndim == 1 else energies, (len(energies), 3)))

    def scaled(self, factor: float) -> Lights:
        """Return the rig with all radiance multiplied by ``factor``."""
        sky, ground = (tuple(float(c) * factor for c in color) for color in (self.sky, self.ground))
        energies = (np.asarray(self.energies) * factor).astype(np.float32)
        return replace(self, energies=energies, ambient=self.ambient * factor, sky=sky, ground=ground)

    def exposed(self, peak: float = 1.0) -> Lights:
        """Scale so that the brightest white diffuse surface, whichever way it faces, has radiance ``peak``; black stays black."""
        brightest = float(self.diffuse(sphere(PROBES)).max())
        return self.scaled(peak / brightest) if brightest > 0 else self

    def diffuse(self, normals: Floats) -> Floats:
        """Compute the radiance [N, 3] of white diffuse surfaces with unit ``normals`` [N, 3]."""
        suns = np.maximum(normals @ self.directions.T, 0) @ self.colors
        above, below = (self.ambient + np.array(color, np.float32) for color in (self.sky, self.ground))
        return (suns + (above + below) / 2 + (above - below) / 3 * normals[:, 1:2]).astype(np.float32)


def four_suns() -> Lights:
    """Return L4GM's key, fill, rim and bottom sun with a faint uniform world."""
    return Lights()


def sun_and_sky(azimuth: float = 40.0, elevation: float = 50.0, sun: float = 0.75, sky: float = 0.35) -> Lights:
    """Return one warm sun under a blue sky over warm ground.

    Args:
        azimuth, elevation: of the sun in degrees; azimuth 0 is the front (+z), 90 the right (+x).
        sun: radiance of a white diffuse surface that faces the sun. sky: radiance from above.
    """
    direction = from_angles(np.array([azimuth]), np.array([elevation]))
    warm, blue, earth = np.array((1.0, 0.95, 0.86)), np.array((0.86, 0.95, 1.1)), np.array((0.34, 0.31, 0.28))
    return Lights(direction, (sun * warm[None]).astype(np.float32), 0.0, _color(sky * blue), _color(sky * earth))


def random_rig(rng: np.random.Generator) -> Lights:
    """Draw a rig: L4GM's suns (30 %), sun and sky (30 %), or one to four suns of any direction and slightly tinted colour.

    Random rigs have between a flat and a hard light, and are exposed so that white surfaces hardly saturate.
    """
    kind = rng.random()
    if kind < 0.3:
        return four_suns()
    peak = float(rng.uniform(0.8, 1.05))
    if kind < 0.6:
        share = float(rng.uniform(0.25, 0.75))
        return sun_and_sky(float(rng.uniform(0, 360)), float(rng.uniform(15, 80)), 1 - share, share).exposed(peak)
    count = int(rng.integers(1, 5))
    directions = unit(rng.normal(size=(count, 3)) + [0, 0.7, 0])
    tints = 1 + rng.uniform(-0.15, 0.15, (count + 2, 3))
    energies = rng.uniform(0.2, 1.0, (count, 1)) * tints[:count]
    level = float(rng.uniform(0.15, 1.2))
    sky, ground = _color(level * tints[count]), _color(level * rng.uniform(0.2, 1.0) * tints[count + 1])
    return Lights(directions, energies.astype(np.float32), 0.0, sky, ground).exposed(peak)


def from_angles(azimuth: np.ndarray, elevation: np.ndarray) -> Floats:
    """Return unit directions [N, 3] of angles [N] in degrees, +Y up."""
    a, e = np.deg2rad(azimuth), np.deg2rad(elevation)
    return unit(np.stack([np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)], -1))


def sphere(count: int) -> Floats:
    """Return ``count`` directions evenly over the sphere (Fibonacci lattice)."""
    k = np.arange(count) + 0.5
    height, turn = 1 - 2 * k / count, np.pi * (1 + 5**0.5) * k
    flat = np.sqrt(1 - height**2)
    return np.stack([flat * np.cos(turn), height, flat * np.sin(turn)], -1).astype(np.float32)


def _color(values: np.ndarray) -> Color:
    return float(values[0]), float(values[1]), float(values[2])
