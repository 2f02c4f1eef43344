"""Rigid mechanisms: gears, vehicles, propellers, and assemblies of moving parts."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from chronosplat.assets.procedural.parts import Array, Ints, ProceduralMesh, Rng, assemble, box, capsule, icosphere, paint, prism, rotation

Motion = Callable[[float], tuple[Array, Array]]  # time -> rotation [3, 3] and translation [3]


def _rigid(name: str, rng: Rng, parts: list[tuple[Array, Ints, Motion]]) -> ProceduralMesh:
    """Assemble an object of rigid parts, each with its own colours and motion."""
    counts = np.cumsum([0] + [len(points) for points, _, _ in parts])
    faces = np.concatenate([f + first for (_, f, _), first in zip(parts, counts, strict=False)])
    colors = np.concatenate([paint(points * 2, rng) for points, _, _ in parts])

    def positions(t: float) -> Array:
        moved = []
        for points, _, motion in parts:
            turn, shift = motion(t)
            moved.append(points @ turn.T + shift)
        return np.concatenate(moved)

    return assemble(name, faces, colors, 1.0, positions)


def _spin(axis: tuple[float, float, float], turns: float, center: Array, phase: float = 0.0) -> Motion:
    return lambda t: (rotation(np.array(axis), 2 * math.pi * turns * t + phase), center)


def gears(rng: Rng) -> ProceduralMesh:
    """Generate two to four meshing gears, with speeds from their numbers of teeth."""
    module, turns, parts, direction = rng.uniform(0.03, 0.045), float(rng.integers(1, 3)) * 0.5, [], 1.0
    center, radius, first_teeth = np.zeros(3), 0.0, 0
    for k in range(int(rng.integers(2, 5))):
        teeth = int(rng.integers(8, 20))
        grown = module * teeth / 2
        if k:
            angle = rng.uniform(-0.9, 0.9)
            center = center + (radius + grown) * np.array([math.cos(angle), math.sin(angle), 0])
        else:
            first_teeth = teeth
        radius = grown
        theta = np.arange(4 * teeth) * 2 * math.pi / (4 * teeth)
        rim = np.where(np.arange(4 * teeth) % 4 < 2, radius + module * 0.9, radius - module * 0.9)
        points, faces = prism(np.c_[np.cos(theta) * rim, np.sin(theta) * rim], rng.uniform(0.03, 0.12))
        parts.append((points, faces, _spin((0, 0, 1), direction * turns * first_teeth / teeth, center + [0, 0, rng.uniform(-0.02, 0.02)])))
        direction = -direction
    return _rigid("gears", rng, parts)


def vehicle(rng: Rng) -> ProceduralMesh:
    """Generate a bouncing body with a cabin or a turret and rolling wheels."""
    half = np.array([rng.uniform(0.15, 0.28), rng.uniform(0.06, 0.14), rng.uniform(0.3, 0.5)])
    radius, turns = rng.uniform(0.06, 0.13), float(rng.integers(1, 3))
    bounce = rng.uniform(0, 0.04)
    rise: Motion = lambda t: (np.eye(3), np.array([0, radius + half[1] + bounce * math.sin(4 * math.pi * t), 0]))
    parts: list[tuple[Array, Ints, Motion]] = [(*box(half, 6), rise)]
    cabin, shape = box(half * rng.uniform(0.4, 0.8, 3) + [0, 0.05, 0], 4)
    swing, above = rng.uniform(0, 1.2) * (rng.random() < 0.6), np.array([0, radius + 2.2 * half[1], rng.uniform(-0.15, 0.15)])
    look: Motion = lambda t: (rotation(np.array([0, 1.0, 0]), swing * math.sin(2 * math.pi * t)), above)
    parts.append((cabin, shape, look))
    if swing:
        parts.append((*capsule(np.array([0, 0.03, 0.1]), np.array([0, 0.06, rng.uniform(0.3, 0.6)]), 0.03, 0.025), look))
    theta = np.linspace(0, 2 * math.pi, 20, endpoint=False)
    wheel, wheel_faces = prism(np.c_[np.cos(theta), np.sin(theta)] * radius, 0.04)
    upright = wheel @ rotation(np.array([0, 1.0, 0]), math.pi / 2).T
    for x in (-1, 1):
        for z in np.linspace(-0.8, 0.8, int(rng.integers(2, 4))):
            parts.append((upright, wheel_faces, _spin((1, 0, 0), turns, np.array([x * half[0], radius, z * half[2]]))))
    return _rigid("vehicle", rng, parts)


def propeller(rng: Rng) -> ProceduralMesh:
    """Generate a stand with rotating blades and possibly a nodding head, like fans, windmills and helicopters."""
    height, blades = rng.uniform(0.3, 0.6), int(rng.integers(2, 6))
    flat = rng.random() < 0.4
    hub, nod = np.array([0, height, 0.12 if not flat else 0.0]), rng.uniform(0, 0.5) * (rng.random() < 0.5)
    static: Motion = lambda t: (np.eye(3), np.zeros(3))
    post = capsule(np.zeros(3), np.array([0, height, 0]), rng.uniform(0.05, 0.15), rng.uniform(0.04, 0.1))
    parts: list[tuple[Array, Ints, Motion]] = [(*post, static), (*box(np.array([0.2, 0.03, 0.2]), 4), static)]
    turns = float(rng.choice([0.5, 1, 2])) * rng.choice([-1, 1])
    pitch, length, width = rng.uniform(0.2, 0.7), rng.uniform(0.25, 0.45), rng.uniform(0.03, 0.1)
    plane = rotation(np.array([1.0, 0, 0]), -math.pi / 2) if flat else np.eye(3)

    def motion(t: float) -> tuple[Array, Array]:
        lean = rotation(np.array([0, 1.0, 0]), nod * math.sin(2 * math.pi * t))
        return lean @ plane @ rotation(np.array([0, 0, 1.0]), 2 * math.pi * turns * t), lean @ hub

    for k in range(blades):
        blade, faces = box(np.array([length / 2, width, 0.01]), 6)
        blade = blade @ rotation(np.array([1.0, 0, 0]), pitch).T + [length / 2, 0, 0]
        parts.append((blade @ rotation(np.array([0, 0, 1.0]), 2 * math.pi * k / blades).T, faces, motion))
    parts.append((icosphere(2)[0] * 0.06, icosphere(2)[1], motion))
    return _rigid("propeller", rng, parts)


def assembly(rng: Rng) -> ProceduralMesh:
    """Generate random primitives that orbit, swing, or move apart and together."""
    parts: list[tuple[Array, Ints, Motion]] = []
    style = rng.integers(3)
    for _ in range(int(rng.integers(3, 9))):
        half = rng.uniform(0.05, 0.22, 3)
        kind = rng.integers(3)
        if kind == 0:
            points, faces = box(half, 4)
        elif kind == 1:
            points, faces = icosphere(3)[0] * half, icosphere(3)[1]
        else:
            points, faces = capsule(np.array([0, -half[1] * 2, 0]), np.array([0, half[1] * 2, 0]), half[0] * 0.7, half[2] * 0.7)
        home, axis, turns = rng.uniform(-0.3, 0.3, 3), rng.normal(size=3), rng.choice([0, 0.5, 1])
        reach, phase, swing = rng.uniform(0, 0.6), rng.uniform(0, 6.28), rng.normal(size=3) * 0.1

        parts.append((points, faces, _flight(int(style), home, axis, float(turns), reach, phase, swing)))
    return _rigid("assembly", rng, parts)


def _flight(style: int, home: Array, axis: Array, turns: float, reach: float, phase: float, swing: Array) -> Motion:
    """Return the motion of one part; ``style``: 0 orbits the origin, 1 moves out and back, 2 swings in place."""

    def motion(t: float) -> tuple[Array, Array]:
        beat = math.sin(2 * math.pi * t + phase)
        if style == 0:
            place = rotation(np.array([0, 1.0, 0]), 2 * math.pi * t * (turns or 0.5)) @ home
        else:
            place = home * (1 + reach * (1 + beat)) if style == 1 else home + swing * beat
        return rotation(axis, 2 * math.pi * turns * t + 0.5 * beat), place

    return motion
