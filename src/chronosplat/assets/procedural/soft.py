"""Deforming objects: blobs with travelling waves, wings, flags and tentacles."""

from __future__ import annotations

import math

import numpy as np

from chronosplat.assets.procedural.parts import Array, ProceduralMesh, Rng, assemble, capsule, grid_faces, icosphere, noise, paint


def blob(rng: Rng) -> ProceduralMesh:
    """Generate a star-shaped body with travelling surface waves, squash and stretch."""
    sphere, faces = icosphere(4)
    waves = int(rng.integers(2, 7))
    directions = rng.normal(size=(waves, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    counts, amplitudes = rng.integers(1, 5, waves), rng.uniform(0.01, 0.08, waves)
    phases, speeds = rng.uniform(0, 6.3, waves), rng.integers(0, 3, waves)
    squash = rng.uniform(0, 0.3)
    rest = 0.4 + 0.3 * (noise(sphere * rng.uniform(1, 3) + 9) - 0.5)
    stretch = rng.uniform(0.5, 1.2, 3)

    def positions(t: float) -> Array:
        radius = rest.copy()
        for k in range(waves):
            radius = radius + amplitudes[k] * np.sin(counts[k] * (sphere @ directions[k]) * 2 + phases[k] + 2 * math.pi * speeds[k] * t)
        tall = 1 + squash * math.sin(2 * math.pi * t)
        return sphere * radius[:, None] * stretch * [tall**-0.5, tall, tall**-0.5]

    return assemble("blob", faces, paint(positions(0.0), rng), 1.0, positions)


def wings(rng: Rng) -> ProceduralMesh:
    """Generate a body with two flapping sheets, like birds, butterflies and rays."""
    n = 32
    u, v = (x.ravel() for x in np.meshgrid(np.linspace(0, 1, n), np.linspace(-0.5, 0.5, n)))
    chord = rng.uniform(0.15, 0.4) + rng.uniform(0.1, 0.5) * np.sin(u * math.pi * rng.uniform(0.5, 0.95))
    span, amplitude, lag, beats = rng.uniform(0.4, 0.8), rng.uniform(0.3, 1.1), rng.uniform(0.3, 2.0), int(rng.integers(1, 3))
    body, body_faces = capsule(
        np.array([0, 0, -rng.uniform(0.2, 0.4)]), np.array([0, 0, rng.uniform(0.2, 0.4)]), rng.uniform(0.03, 0.09), 0.05
    )
    sheet = grid_faces(n, n)

    def positions(t: float) -> Array:
        angle = amplitude * np.sin(2 * math.pi * beats * t - lag * u)
        wing = np.c_[0.04 + u * span * np.cos(angle), u * span * np.sin(angle), v * chord + 0.1 * u]
        bob = [0, -0.15 * amplitude * math.sin(2 * math.pi * beats * t), 0]
        return np.concatenate([wing, wing * [-1, 1, 1], body]) + bob

    rest = np.concatenate([np.c_[u, 0 * u, v * chord]] * 2 + [body])
    faces = np.concatenate([sheet, sheet[:, ::-1] + n * n, body_faces + 2 * n * n])
    return assemble("wings", faces, paint(rest, rng), 1.0, positions)


def flag(rng: Rng) -> ProceduralMesh:
    """Generate a waving sheet on a pole, or a bunch of swaying tentacles."""
    if rng.random() < 0.5:
        return _tentacles(rng)
    n = 32
    u, v = (x.ravel() for x in np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 1, n)))
    width, height, waves, beats = rng.uniform(0.4, 0.9), rng.uniform(0.25, 0.6), rng.uniform(1, 3), int(rng.integers(1, 3))
    depth = rng.uniform(0.05, 0.15)
    pole, pole_faces = capsule(np.array([0, -0.6, 0]), np.array([0, height + 0.02, 0]), 0.025, 0.025)

    def positions(t: float) -> Array:
        wave = depth * u * np.sin(2 * math.pi * (waves * u - beats * t) + v)
        return np.concatenate([np.c_[u * width, v * height, wave], pole])

    rest = np.concatenate([np.c_[u * width, v * height, 0 * u], pole])
    return assemble("flag", np.concatenate([grid_faces(n, n), pole_faces + n * n]), paint(rest, rng), 1.0, positions)


def _tentacles(rng: Rng) -> ProceduralMesh:
    points, faces, roots = [], [], []
    for k in range(int(rng.integers(3, 8))):
        angle = rng.uniform(0, 6.28)
        root = np.array([math.cos(angle), 0, math.sin(angle)]) * rng.uniform(0.05, 0.25)
        part, part_faces = capsule(root, root * rng.uniform(0.5, 2) + [0, rng.uniform(0.4, 0.9), 0], rng.uniform(0.04, 0.09), 0.02)
        faces.append(part_faces + k * len(part))
        points.append(part)
        roots.append(np.full(len(part), rng.uniform(0, 6.28)))
    rest, phase = np.concatenate(points), np.concatenate(roots)
    sway, waves = rng.uniform(0.05, 0.25), rng.uniform(1, 5)

    def positions(t: float) -> Array:
        bend = sway * np.clip(rest[:, 1], 0, None) ** 1.3
        beat = 2 * math.pi * t + phase - waves * rest[:, 1]
        return rest + np.c_[bend * np.sin(beat), 0 * bend, bend * np.cos(beat)]

    return assemble("tentacles", np.concatenate(faces), paint(rest, rng), 1.0, positions)
