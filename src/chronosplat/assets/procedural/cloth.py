"""Simulated cloth: a sheet that falls over a ball, or hangs from two corners in gusts of wind."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from chronosplat.assets.procedural.parts import Array, ProceduralMesh, Rng, assemble, grid_faces, icosphere, paint

BallPath = Callable[[float], Array]  # time -> centre

N = 24  # points along each side of the sheet
STEPS, KEPT = 96, 2  # steps of the simulation in one second; every KEPT-th is kept, and poses between are interpolated
ROUNDS = 6  # of the constraints in each step
GRAVITY, DRAG, FRICTION = 5.0, 0.004, 0.4
FLOOR = -0.45
# neighbours that keep their distance, (rows, columns) apart: threads, and diagonals against shear
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))


def cloth(rng: Rng) -> ProceduralMesh:
    """Generate a sheet with gravity and a ball (position-based dynamics). The motion lasts one second and does not loop."""
    side, radius, hangs = rng.uniform(0.7, 1.0), rng.uniform(0.15, 0.28), rng.random() < 0.4
    u, v = np.meshgrid(np.linspace(-0.5, 0.5, N), np.linspace(-0.5, 0.5, N), indexing="ij")
    across, along = u * side, v * side
    start = np.stack([along, -across, 0 * u], -1) if hangs else np.stack([along, 0 * u + rng.uniform(0.3, 0.4), across], -1)
    start += rng.normal(scale=1e-3, size=start.shape)
    swing, phase = rng.uniform(0.05, 0.2), rng.uniform(0, 2 * math.pi)
    place = np.array([0, -0.1, 0.35 if hangs else 0.0]) + rng.uniform(-0.08, 0.08, 3)
    ball: BallPath = lambda t: place + swing * np.array([math.sin(2 * math.pi * t + phase), 0, -hangs * math.sin(math.pi * t) * 2])
    wind = rng.uniform(0, 3, 3) * (1, 0.2, 1) * hangs
    frames = simulate(start, side / (N - 1), ball, radius, wind, ((0, 0), (0, N - 1)) if hangs else ())
    sphere, sphere_faces = icosphere(3)

    def positions(t: float) -> Array:
        at = float(np.clip(t, 0, 1)) * (len(frames) - 1)
        k = min(int(at), len(frames) - 2)
        sheet = frames[k] + (frames[k + 1] - frames[k]) * (at - k)
        return np.concatenate([sheet.reshape(-1, 3), sphere * (radius * 0.96) + ball(min(max(t, 0.0), 1.0))])

    rest = np.concatenate([np.stack([across, along, 0 * u], -1).reshape(-1, 3), sphere * radius + 2])
    faces = np.concatenate([grid_faces(N, N), sphere_faces + N * N])
    return assemble("cloth", faces, paint(rest, rng), 1.0, positions)


def simulate(start: Array, spacing: float, ball: BallPath, radius: float, wind: Array, pins: tuple[tuple[int, int], ...]) -> Array:
    """Return the sheet [K, N, N, 3] at K times of one second.

    Args:
        start: [N, N, 3]. spacing: of its threads. ball: centre at a time. pins: points that stay.
    """
    now, before, frames, dt = start.copy(), start.copy(), [start], 1 / STEPS
    for step in range(1, STEPS + 1):
        t = step * dt
        force = np.array([0, -GRAVITY, 0]) + wind * math.sin(2 * math.pi * t)
        now, before = now + (now - before) * (1 - DRAG) + force * dt**2, now
        for _ in range(ROUNDS):
            for rows, columns in NEIGHBOURS:
                _keep_distance(now, rows, columns, spacing * math.hypot(rows, columns))
            _collide(now, before, ball(t), radius)
            for pin in pins:
                now[pin] = start[pin]
        if step % KEPT == 0:
            frames.append(now.copy())
    return np.stack(frames)


def _keep_distance(x: Array, rows: int, columns: int, length: float) -> None:
    """Move each pair of neighbours to its distance, alternate pairs after the others, so that no point is in two at once."""
    for phase in (0, 1):
        if rows:
            a = x[phase : N - 1 : 2, max(0, -columns) : N - max(0, columns)]
            b = x[phase + 1 : N : 2, max(0, columns) : N - max(0, -columns)]
        else:
            a, b = x[:, phase : N - 1 : 2], x[:, phase + 1 : N : 2]
        apart = b - a
        correction = apart * (0.5 - 0.5 * length / np.maximum(np.linalg.norm(apart, axis=-1, keepdims=True), 1e-9))
        a += correction
        b -= correction


def _collide(now: Array, before: Array, center: Array, radius: float) -> None:
    """Push points out of the ball and the floor; there they keep part of their place."""
    out = now - center
    distance = np.linalg.norm(out, axis=-1)
    inside = distance < radius
    now[inside] = center + out[inside] * (radius / np.maximum(distance[inside], 1e-9))[:, None]
    below = now[..., 1] < FLOOR
    now[below, 1] = FLOOR
    touching = inside | below
    before[touching] += FRICTION * (now[touching] - before[touching])
